public import BootCommon

/// A Linux bzImage of boot protocol 2.02 or later (Documentation/arch/x86/boot.rst), entered at its 64-bit entry point.
public struct BzImage: Equatable, Sendable {
    /// Boot protocol, major in the high byte: 0x020f is 2.15.
    public let version: UInt16
    /// The file's bytes from 0x1f1 to the end of its setup header, for the zero page, with the load address of `range`.
    public let setupHeader: [UInt8]
    /// Of the protected-mode kernel in the file, in bytes.
    public let payloadOffset: UInt64
    public let payloadSize: UInt64
    /// What the payload and, from protocol 2.10 on, its decompression occupy; starts at the load address.
    public let range: GuestRange
    /// Most bytes the kernel takes as command line, without the NUL.
    public let commandLineLimit: UInt64
    /// No byte of an initrd lies above this address.
    public let initrdAddressMaximum: UInt64

    /// The 64-bit entry point is 0x200 bytes into the payload.
    public var entry: UInt64 { range.start &+ Self.entryOffset }

    private static let entryOffset: UInt64 = 0x200
    private static let defaultCommandLineLimit: UInt64 = 255
    private static let xlfKernel64: UInt16 = 1
    private static let loadedHigh: UInt8 = 1

    /// "HdrS" at 0x202 makes a file a bzImage (or an older image that `init` refuses).
    static func recognises(_ head: LittleEndianBytes) -> Bool {
        head.load(UInt32.self, at: BootParameters.Offset.magic) == BootParameters.magic
    }

    /// - Parameters:
    ///   - head: the first bytes of the file, up to 4 KiB: all the header fields lie in the first 0x301.
    ///   - size: of the file, in bytes.
    init(head: LittleEndianBytes, size: UInt64) throws(KernelImageError) {
        func field<T: FixedWidthInteger & UnsignedInteger>(
            _: T.Type, at offset: Int
        ) throws(KernelImageError) -> T {
            guard let value = head.load(bytes: T.bitWidth / 8, at: offset) else {
                throw .truncated(.bzImage, needed: UInt64(offset + T.bitWidth / 8), size: size)
            }
            return T(truncatingIfNeeded: value)
        }
        guard try field(UInt16.self, at: BootParameters.Offset.bootFlag) == BootParameters.bootFlag else {
            throw .setupHeaderWithoutBootFlag
        }
        version = try field(UInt16.self, at: 0x206)
        guard version >= 0x0202 else { throw .protocolTooOld(version) }
        let version = version
        // The second byte of the short jump at 0x200 says where the header ends.
        let headerEnd = 0x202 + Int(try field(UInt8.self, at: BootParameters.Offset.jump + 1))
        guard headerEnd >= Self.leastHeaderEnd(version) else {
            throw .setupHeaderTooShort(version: version, end: UInt64(headerEnd))
        }
        let headerStart = BootParameters.Offset.setupHeader
        guard let header = head.slice(at: headerStart, count: headerEnd - headerStart) else {
            throw .truncated(.bzImage, needed: UInt64(headerEnd), size: size)
        }
        guard try field(UInt8.self, at: 0x211) & Self.loadedHigh != 0 else { throw .loadsLow }
        // Before 2.12 nothing in the header tells 64-bit kernels, which have the entry point too, from 32-bit ones.
        if version >= 0x020c, try field(UInt16.self, at: 0x236) & Self.xlfKernel64 == 0 { throw .bzImage32Bit }

        let setupSectors = try field(UInt8.self, at: headerStart)
        payloadOffset = (UInt64(setupSectors == 0 ? 4 : setupSectors) + 1) * 512
        // The field had 16 bits before 2.04; what followed them was not cleared.
        let paragraphs = version >= 0x0204
            ? UInt64(try field(UInt32.self, at: 0x1f4)) : UInt64(try field(UInt16.self, at: 0x1f4))
        let needed = payloadOffset + max(paragraphs * 16, Self.entryOffset + 1)
        guard needed <= size else { throw .truncated(.bzImage, needed: needed, size: size) }
        payloadSize = size - payloadOffset

        commandLineLimit = version >= 0x0206
            ? UInt64(try field(UInt32.self, at: BootParameters.Offset.commandLineSize)) : Self.defaultCommandLineLimit
        initrdAddressMaximum = version >= 0x0203
            ? UInt64(try field(UInt32.self, at: 0x22c)) : X86MemoryLayout.initrdLimit

        var load = UInt64(try field(UInt32.self, at: BootParameters.Offset.loadAddress))
        guard let payload = GuestRange(start: load, count: payloadSize) else { throw .kernelAddressWraps }
        var end = payload.end
        if version >= 0x020a {
            let preferred = try field(UInt64.self, at: 0x258)
            let initSize = UInt64(try field(UInt32.self, at: 0x260))
            let relocatable = try field(UInt8.self, at: 0x234) != 0
            let alignment = try field(UInt32.self, at: 0x230)
            guard alignment & (alignment &- 1) == 0 else { throw .kernelAlignment(alignment) }
            // A relocatable kernel decompresses where it was loaded, aligned, but never below its preferred address.
            let mask = UInt64(alignment == 0 ? 0 : alignment - 1)
            let start = relocatable ? max((load + mask) & ~mask, preferred) : preferred
            guard let runtime = GuestRange(start: start, count: initSize) else { throw .kernelAddressWraps }
            end = max(end, runtime.end)
            // So it is loaded there at once, which spares the guest a copy and the host the memory in between.
            if relocatable, start > load, start & mask == 0, start <= UInt64(UInt32.max), let there = GuestRange(start: start, count: payloadSize) {
                load = start
                end = max(there.end, runtime.end)
            }
        }
        guard let range = GuestRange(start: load, end: end) else { throw .kernelAddressWraps }
        self.range = range
        var setup = ByteImage(count: header.count)
        setup.store(header, at: 0)
        setup.store(UInt32(truncatingIfNeeded: load), at: BootParameters.Offset.loadAddress - headerStart)
        setupHeader = setup.bytes
    }

    /// The header of each protocol version reaches at least to the end of the last field that is read here.
    private static func leastHeaderEnd(_ version: UInt16) -> Int {
        switch version {
        case ..<0x0203: 0x22c
        case ..<0x0206: 0x230
        case ..<0x020a: 0x23c
        default: 0x264
        }
    }
}
