internal import BootCommon

/// A segment as an 8-byte GDT entry (Intel SDM volume 3, 3.4.5).
public struct SegmentDescriptor: Equatable, Sendable {
    public let base: UInt32
    /// The 20-bit limit field, in bytes or, with `granularity`, in 4 KiB pages.
    public let limit: UInt32
    /// Bits 0...7: type, S, DPL, P; bits 12...15: AVL, L, D/B, G. Bits 8...11 are zero.
    public let flags: UInt16

    public init(flags: UInt16, base: UInt32 = 0, limit: UInt32) {
        self.flags = flags & 0xf0ff
        self.base = base
        self.limit = limit & 0xf_ffff
    }

    public static let null = SegmentDescriptor(flags: 0, limit: 0)
    /// Flat, execute/read, accessed, 64-bit.
    public static let code64 = SegmentDescriptor(flags: 0xa09b, limit: 0xf_ffff)
    /// Flat, execute/read, accessed, 32-bit.
    public static let code32 = SegmentDescriptor(flags: 0xc09b, limit: 0xf_ffff)
    /// Flat, read/write, accessed.
    public static let data = SegmentDescriptor(flags: 0xc093, limit: 0xf_ffff)
    /// Busy 32-bit TSS of the least size, as the PVH ABI asks; type 11 is also what a vCPU must have in long mode.
    public static let task = SegmentDescriptor(flags: 0x008b, limit: 0x67)

    public var type: UInt8 { UInt8(truncatingIfNeeded: flags & 0xf) }
    /// S: a code or data segment, not a system one.
    public var isCodeOrData: Bool { flags & 0x10 != 0 }
    public var privilege: UInt8 { UInt8(truncatingIfNeeded: flags >> 5 & 3) }
    public var present: Bool { flags & 0x80 != 0 }
    public var available: Bool { flags & 0x1000 != 0 }
    public var long: Bool { flags & 0x2000 != 0 }
    /// D/B: 32-bit default operand size.
    public var default32: Bool { flags & 0x4000 != 0 }
    public var granularity: Bool { flags & 0x8000 != 0 }

    /// Highest byte offset in the segment: what the hidden part of a segment register holds.
    public var byteLimit: UInt32 { granularity ? limit << 12 | 0xfff : limit }

    /// The entry as it lies in the GDT.
    public var encoded: UInt64 {
        UInt64(base & 0xff00_0000) << 32 | UInt64(flags) << 40 | UInt64(limit & 0xf_0000) << 32
            | UInt64(base & 0xff_ffff) << 16 | UInt64(limit & 0xffff)
    }
}

/// The GDT at 0x500 and the empty IDT behind it.
public struct DescriptorTables: Equatable, Sendable {
    public let entries: [SegmentDescriptor]
    public let codeSelector: UInt16
    public let dataSelector: UInt16
    public let taskSelector: UInt16

    /// 64-bit Linux entry (Documentation/arch/x86/boot.rst, 64-bit boot protocol): code 0x10, data 0x18.
    public static let long = DescriptorTables(
        entries: [.null, .null, .code64, .data], codeSelector: 0x10, dataSelector: 0x18, taskSelector: 0)

    /// 32-bit PVH entry: code 0x8, data 0x10, TSS 0x18. Selector values are free in that ABI; 4 entries fit below the IDT.
    public static let flat32 = DescriptorTables(
        entries: [.null, .code32, .data, .task], codeSelector: 0x8, dataSelector: 0x10, taskSelector: 0x18)

    public var gdtLimit: UInt16 { UInt16(truncatingIfNeeded: entries.count &* 8 &- 1) }
    public var idtLimit: UInt16 { 7 }

    /// GDT and IDT together, 40 bytes, to be written at 0x500.
    public var bytes: [UInt8] {
        var image = ByteImage(count: 40)
        for (index, entry) in entries.prefix(4).enumerated() { image.store(entry.encoded, at: index * 8) }
        return image.bytes
    }
}
