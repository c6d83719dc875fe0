/// A segment register with its hidden part, as a boot protocol asks for it.
public struct X86Segment: Equatable, Sendable {
    public var selector: UInt16
    public var base: UInt64
    /// In bytes, the granularity bit applied.
    public var limit: UInt32
    /// Bits 40 to 55 of a descriptor, those of the limit (8...11) cleared: 0xA09B is a 64-bit code segment, 0xC093 a flat data segment.
    public var attributes: UInt16

    public init(selector: UInt16, base: UInt64 = 0, limit: UInt32, attributes: UInt16) {
        self.selector = selector
        self.base = base
        self.limit = limit
        self.attributes = attributes & 0xF0FF
    }

    /// What the processor would load from a GDT entry (Intel SDM vol. 3, figure 3-8).
    public init(selector: UInt16, descriptor: UInt64) {
        let low = UInt32(truncatingIfNeeded: descriptor & 0xFFFF | descriptor >> 32 & 0xF_0000)
        let attributes = UInt16(truncatingIfNeeded: descriptor >> 40)
        self.init(
            selector: selector, base: descriptor >> 16 & 0xFF_FFFF | descriptor >> 32 & 0xFF00_0000,
            limit: attributes & 0x8000 != 0 ? low << 12 | 0xFFF : low, attributes: attributes)
    }
}

/// The registers with which an x86 vCPU starts. Plain data; compiled on every host. A new image is the processor's state after reset (Intel SDM
/// vol. 3, table 10-1), to be changed to what the kernel's boot protocol wants.
public struct X86RegisterImage: Equatable, Sendable {
    public var rip: UInt64 = 0xFFF0
    public var rsp: UInt64 = 0
    public var rbp: UInt64 = 0
    public var rsi: UInt64 = 0
    public var rbx: UInt64 = 0
    public var rflags: UInt64 = 2
    public var cs = X86Segment(selector: 0xF000, base: 0xFFFF_0000, limit: 0xFFFF, attributes: 0x9B)
    public var ds = X86Segment(selector: 0, limit: 0xFFFF, attributes: 0x93)
    public var es = X86Segment(selector: 0, limit: 0xFFFF, attributes: 0x93)
    public var fs = X86Segment(selector: 0, limit: 0xFFFF, attributes: 0x93)
    public var gs = X86Segment(selector: 0, limit: 0xFFFF, attributes: 0x93)
    public var ss = X86Segment(selector: 0, limit: 0xFFFF, attributes: 0x93)
    /// A busy TSS: an Intel processor enters no guest without one (SDM vol. 3, 26.3.1.2).
    public var tr = X86Segment(selector: 0, limit: 0xFFFF, attributes: 0x8B)
    public var ldt = X86Segment(selector: 0, limit: 0xFFFF, attributes: 0x82)
    public var gdtBase: UInt64 = 0
    public var gdtLimit: UInt16 = 0xFFFF
    public var idtBase: UInt64 = 0
    public var idtLimit: UInt16 = 0xFFFF
    /// Caches disabled, extension type: the value after reset. KVM does not slow a guest down for it.
    public var cr0: UInt64 = 0x6000_0010
    public var cr3: UInt64 = 0
    public var cr4: UInt64 = 0
    public var efer: UInt64 = 0

    public init() {}
}
