internal import BootCommon

/// Linux `struct boot_params`, the zero page (Documentation/arch/x86/zero-page.rst and boot.rst).
public struct BootParameters: Equatable, Sendable {
    public static let size = 4096

    enum Offset {
        static let rsdp = 0x70
        static let e820Count = 0x1e8
        static let setupHeader = 0x1f1
        static let bootFlag = 0x1fe
        static let jump = 0x200
        static let magic = 0x202
        static let typeOfLoader = 0x210
        static let loadAddress = 0x214
        static let ramdiskImage = 0x218
        static let ramdiskSize = 0x21c
        static let commandLine = 0x228
        static let commandLineSize = 0x238
        /// `boot_params` leaves this much room for the setup header.
        static let setupHeaderEnd = 0x290
        static let e820Table = 0x2d0
    }

    static let bootFlag: UInt16 = 0xaa55
    static let magic: UInt32 = 0x5372_6448  // "HdrS"
    /// No id is assigned to this loader.
    private static let undefinedLoader: UInt8 = 0xff
    private static let maximumE820Entries = 128

    /// The page, to be written at 0x7000.
    public let bytes: [UInt8]

    /// - Parameters:
    ///   - setupHeader: what the bzImage has from 0x1f1 on, cut at 0x290; empty for kernels without one.
    ///   - commandLineLength: without the NUL.
    ///   - initrd: below 4 GiB.
    ///   - rsdp: guest physical address of the ACPI root pointer.
    init(
        setupHeader: [UInt8], commandLineLength: UInt32, initrd: GuestRange?, memoryMap: [MemoryMapEntry], rsdp: UInt64?
    ) {
        var page = ByteImage(count: Self.size)
        page.store(setupHeader.prefix(Offset.setupHeaderEnd - Offset.setupHeader), at: Offset.setupHeader)
        page.store(Self.bootFlag, at: Offset.bootFlag)
        page.store(Self.magic, at: Offset.magic)
        page.store(Self.undefinedLoader, at: Offset.typeOfLoader)
        page.store(UInt32(truncatingIfNeeded: X86MemoryLayout.commandLine), at: Offset.commandLine)
        page.store(commandLineLength, at: Offset.commandLineSize)
        // A ramdisk that the file's own header names does not exist in guest memory.
        page.store(UInt32(truncatingIfNeeded: initrd?.start ?? 0), at: Offset.ramdiskImage)
        page.store(UInt32(truncatingIfNeeded: initrd?.count ?? 0), at: Offset.ramdiskSize)
        page.store(rsdp ?? 0, at: Offset.rsdp)

        let entries = memoryMap.prefix(Self.maximumE820Entries)
        page.store(UInt8(truncatingIfNeeded: entries.count), at: Offset.e820Count)
        for (index, entry) in entries.enumerated() {
            let offset = Offset.e820Table + index * 20
            page.store(entry.start, at: offset)
            page.store(entry.size, at: offset + 8)
            page.store(entry.kind.rawValue, at: offset + 16)
        }
        bytes = page.bytes
    }
}
