public import BootCommon

/// Where direct boot puts things in guest physical memory, and where RAM is. All addresses and sizes in bytes.
public struct X86MemoryLayout: Equatable, Sendable {
    /// GDT of 4 entries; the empty IDT follows it.
    public static let gdt: UInt64 = 0x500
    public static let idt: UInt64 = 0x520
    /// PVH `hvm_start_info`, its module list and its memory map share this page.
    public static let pvhStartInfo: UInt64 = 0x6000
    /// Linux `boot_params`, one page.
    public static let zeroPage: UInt64 = 0x7000
    /// Initial rsp and rbp; grows down towards the end of the zero page.
    public static let stackTop: UInt64 = 0x8ff0
    /// PML4, then PDPT, then one page directory.
    public static let pageTables: UInt64 = 0x9000
    /// The identity mapping of the page tables ends here: what the kernel touches first has to lie below.
    public static let identityMapped: UInt64 = 1 << 30
    public static let commandLine: UInt64 = 0x2_0000
    /// Room for the command line and its NUL.
    public static let commandLineSize: UInt64 = 0x1_0000
    /// Extended BIOS data area: the last KiB of base memory, where Linux looks for the MP floating pointer.
    public static let ebda: UInt64 = 0x9_fc00
    public static let ebdaEnd: UInt64 = 0xa_0000
    /// Reserved below 1 MiB for firmware tables; an MP configuration table that outgrows the EBDA goes to its start.
    public static let firmware: UInt64 = 0xd_0000
    /// The RSDP and the ACPI tables lie in `acpi ..< highMemory`.
    public static let acpi: UInt64 = 0xe_0000
    public static let highMemory: UInt64 = 0x10_0000
    /// Load address and entry of a flat binary.
    public static let flatKernel: UInt64 = 0x100_0000
    /// An initrd ends at or below this address, whatever the kernel allows: Linux before protocol 2.03 reads no higher.
    public static let initrdLimit: UInt64 = 0x37ff_ffff
    /// Least RAM that holds all tables and one MiB for a kernel.
    public static let minimumRAM: UInt64 = 2 << 20

    public let ramSize: UInt64
    /// RAM stops here for 32-bit MMIO and goes on at `gapEnd`.
    public let gapStart: UInt64
    public let gapEnd: UInt64

    /// - Parameters:
    ///   - ramSize: all of RAM in bytes, 2 MiB or more.
    ///   - gapStart: 3 GiB on microvm, 2 GiB on q35.
    /// - Throws: `memoryTooSmall`, or `badMemoryGap` when the gap is upside down, starts below 2 MiB, or wraps.
    public init(
        ramSize: UInt64, gapStart: UInt64 = 3 << 30, gapEnd: UInt64 = 4 << 30
    ) throws(X86BootPlanError) {
        guard ramSize >= Self.minimumRAM else { throw .memoryTooSmall(ramSize) }
        guard gapStart >= Self.minimumRAM, gapStart <= gapEnd,
            !gapEnd.addingReportingOverflow(ramSize).overflow
        else { throw .badMemoryGap(start: gapStart, end: gapEnd) }
        self.ramSize = ramSize
        self.gapStart = gapStart
        self.gapEnd = gapEnd
    }

    /// End of the RAM that starts at address 0.
    public var lowRAMEnd: UInt64 { min(ramSize, gapStart) }

    /// RAM above the gap, or nil when all of it fits below.
    public var highRAM: GuestRange? {
        ramSize > gapStart ? GuestRange(start: gapEnd, count: ramSize &- gapStart) : nil
    }

    /// Kernel, initrd and everything they need at entry must end here or below.
    public var bootLimit: UInt64 { min(lowRAMEnd, Self.identityMapped) }
}
