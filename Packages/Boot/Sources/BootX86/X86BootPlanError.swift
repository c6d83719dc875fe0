public import BootCommon

/// Why a kernel, its initrd and the tables cannot be laid out in this machine's memory. Sizes and addresses in bytes.
public enum X86BootPlanError: Error, Equatable, Sendable {
    public enum Part: Equatable, Sendable {
        case kernel
        /// Number of the program header.
        case segment(Int)
    }

    case memoryTooSmall(UInt64)
    case badMemoryGap(start: UInt64, end: UInt64)
    case cpuCount(Int)
    /// Above 254, or given twice.
    case apicID(UInt32)
    /// Not 16-byte aligned or outside 0xe0000 ..< 0x100000.
    case rsdpAddress(UInt64)
    case commandLineTooLong(length: UInt64, limit: UInt64)
    case commandLineHasNUL(at: Int)
    /// It ends above RAM, or above the 1 GiB that is mapped at entry.
    case doesNotFit(Part, GuestRange, limit: UInt64)
    /// The kernel at this address is larger than 64 bits count.
    case kernelWraps(at: UInt64)
    /// It would overwrite, or be overwritten by, the boot tables below 1 MiB.
    case overlapsBootTables(Part, GuestRange)
    case initrdEmpty
    case initrdDoesNotFit(size: UInt64, limit: UInt64)
    case initrdOverlapsKernel(GuestRange, kernel: GuestRange)
}

extension X86BootPlanError {
    /// The file that has to change, nil when it is the machine's configuration.
    public var file: X86BootPlan.File? {
        switch self {
        case .doesNotFit, .kernelWraps, .overlapsBootTables: .kernel
        case .initrdEmpty, .initrdDoesNotFit, .initrdOverlapsKernel: .initrd
        case .memoryTooSmall, .badMemoryGap, .cpuCount, .apicID, .rsdpAddress, .commandLineTooLong, .commandLineHasNUL: nil
        }
    }
}

extension X86BootPlanError: CustomStringConvertible {
    /// A sentence of its own when `file` is nil; otherwise it completes "kernel 'path': …".
    public var description: String {
        switch self {
        case .memoryTooSmall(let size): "\(size) bytes of memory are too few to boot: 2 MiB is the least"
        case .badMemoryGap(let start, let end): "memory gap \(hex(start))..\(hex(end)) is impossible"
        case .cpuCount(let count): "\(count) CPUs cannot be described: 1 to \(MPTable.maximumCPUs) are possible"
        case .apicID(let id): "APIC id \(id) is above 254 or given to two CPUs"
        case .rsdpAddress(let address):
            "RSDP address \(hex(address)) is not 16-byte aligned in "
                + "\(hex(X86MemoryLayout.acpi))..\(hex(X86MemoryLayout.highMemory))"
        case .commandLineTooLong(let length, let limit):
            "kernel command line has \(length) bytes, this kernel accepts \(limit)"
        case .commandLineHasNUL(let position): "kernel command line has a NUL byte at position \(position)"
        case .doesNotFit(let part, let range, let limit):
            "\(part.subject)needs memory \(range), but "
                + (limit == X86MemoryLayout.identityMapped ? "what is mapped at entry" : "RAM") + " ends at \(hex(limit))"
        case .kernelWraps(let address): "needs memory from \(hex(address)) on, more than 64 bits count"
        case .overlapsBootTables(let part, let range):
            "\(part.subject)wants memory \(range), where boot tables and firmware data lie"
        case .initrdEmpty: "the file is empty"
        case .initrdDoesNotFit(let size, let limit): "\(size) bytes do not fit below \(hex(limit))"
        case .initrdOverlapsKernel(let range, let kernel):
            "its place \(range) overlaps the kernel at \(kernel): give the machine more memory"
        }
    }
}

extension X86BootPlanError.Part {
    fileprivate var subject: String {
        switch self {
        case .kernel: ""
        case .segment(let index): "segment \(index) "
        }
    }
}
