internal import BootCommon

/// `hvm_start_info` version 1 with its module list and memory map (Xen's x86/HVM direct boot ABI, docs/misc/pvh).
public struct PVHStartInfo: Equatable, Sendable {
    private static let magic: UInt32 = 0x336e_c578
    private static let version: UInt32 = 1
    private static let infoSize = 56
    private static let moduleOffset = 0x40
    private static let memoryMapOffset = 0x80

    /// One block, to be written at 0x6000; inside the page.
    public let bytes: [UInt8]

    init(initrd: GuestRange?, memoryMap: [MemoryMapEntry], rsdp: UInt64?) {
        let base = X86MemoryLayout.pvhStartInfo
        var image = ByteImage(count: Self.memoryMapOffset + memoryMap.count * 24)
        image.store(Self.magic, at: 0)
        image.store(Self.version, at: 4)
        if let initrd {
            image.store(UInt32(1), at: 12)
            image.store(base + UInt64(Self.moduleOffset), at: 16)
            image.store(initrd.start, at: Self.moduleOffset)
            image.store(initrd.count, at: Self.moduleOffset + 8)
        }
        image.store(X86MemoryLayout.commandLine, at: 24)
        image.store(rsdp ?? 0, at: 32)
        image.store(base + UInt64(Self.memoryMapOffset), at: 40)
        image.store(UInt32(truncatingIfNeeded: memoryMap.count), at: 48)
        for (index, entry) in memoryMap.enumerated() {
            let offset = Self.memoryMapOffset + index * 24
            image.store(entry.start, at: offset)
            image.store(entry.size, at: offset + 8)
            image.store(entry.kind.rawValue, at: offset + 16)
        }
        bytes = image.bytes
    }
}
