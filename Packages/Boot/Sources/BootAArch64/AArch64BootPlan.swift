public import BootCommon

/// Where the kernel, its initrd and the device tree go in this machine's memory; worked out from headers and sizes alone.
/// The three never overlap and lie in RAM.
public struct AArch64BootPlan: Equatable, Sendable {
    /// What the kernel occupies: its file or its `image_size`, whichever is larger. Its first byte is its entry.
    public let kernel: GuestRange
    /// From the kernel's first byte to the first one that belongs to something else: what a kernel of unknown size,
    /// a compressed one, may fill.
    public let room: GuestRange
    /// Where the initrd goes.
    public let initrd: GuestRange?
    /// The first 2 MiB of RAM, which no kernel has a claim on. Linux before 4.2 does not find a tree below itself.
    public let deviceTree: GuestRange

    /// Most that a device tree may have, and what a kernel's place is counted from multiples of (booting.rst).
    static let granule: UInt64 = 2 << 20
    private static let physicalEnd: UInt64 = 1 << 48
    /// The initrd lies, with the kernel, in 32 GiB that start at a multiple of 1 GiB.
    private static let windowAlignment: UInt64 = 1 << 30
    private static let windowSize: UInt64 = 32 << 30
    private static let largestPage: UInt64 = 64 << 10

    /// - Parameters:
    ///   - kernelSize: bytes of the Image in its file; 0 when only decompression will tell.
    ///   - initrdSize: in bytes, nil for none.
    ///   - ramBase: a multiple of 2 MiB.
    ///   - ramSize: of the RAM that starts there, in bytes.
    public init(
        header: AArch64ImageHeader, kernelSize: UInt64, initrdSize: UInt64?, ramBase: UInt64, ramSize: UInt64
    ) throws(AArch64BootPlanError) {
        let space = try Self.kernelSpace(ramBase: ramBase, ramSize: ramSize)
        let claim = max(kernelSize, header.imageSize ?? 0, UInt64(AArch64ImageHeader.size))
        let (start, wraps) = space.start.addingReportingOverflow(header.textOffset)
        guard !wraps, let kernel = GuestRange(start: start, count: claim) else {
            throw .kernelWraps(textOffset: header.textOffset, size: claim)
        }
        guard kernel.end <= space.end, let tree = GuestRange(start: ramBase, end: space.start) else {
            throw .kernelDoesNotFit(kernel, limit: space.end)
        }
        self.kernel = kernel
        deviceTree = tree
        initrd = try initrdSize.map { size throws(AArch64BootPlanError) in
            try Self.placeInitrd(size: size, kernel: kernel, limit: space.end, page: header.pageSize ?? Self.largestPage)
        }
        room = GuestRange(start: start, end: initrd?.start ?? space.end) ?? kernel
    }

    /// All RAM that is not kept for the device tree; starts at a multiple of 2 MiB.
    public static func kernelSpace(ramBase: UInt64, ramSize: UInt64) throws(AArch64BootPlanError) -> GuestRange {
        guard let ram = GuestRange(start: ramBase, count: ramSize), ram.end <= physicalEnd, ramBase.isMultiple(of: granule),
            // RAM ends below 48 bits.
            let space = GuestRange(start: ramBase &+ granule, end: ram.end), !space.isEmpty
        else { throw .ram(base: ramBase, size: ramSize) }
        return space
    }

    /// As high as the kernel reads it, on a boundary of the kernel's own pages: a kernel whose size is unknown takes what
    /// follows it.
    private static func placeInitrd(
        size: UInt64, kernel: GuestRange, limit: UInt64, page: UInt64
    ) throws(AArch64BootPlanError) -> GuestRange {
        guard size > 0 else { throw .initrdEmpty }
        let limit = min(limit, kernel.start & ~(windowAlignment - 1) &+ windowSize)
        guard size <= limit, case let start = (limit &- size) & ~(page - 1), start >= kernel.end,
            let range = GuestRange(start: start, count: size)
        else { throw .initrdDoesNotFit(size: size, kernel: kernel, limit: limit) }
        return range
    }
}
