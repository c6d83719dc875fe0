public import BootCommon

/// What has to be written where before the first vCPU runs, worked out without touching a guest's memory: file contents
/// are named, not read, so that the loader can read them straight into RAM.
public struct X86BootPlan: Equatable, Sendable {
    public typealias File = BootFileKind

    public struct FileLoad: Equatable, Sendable {
        public let file: File
        public let fileOffset: UInt64
        /// In bytes, never 0.
        public let count: UInt64
        public let address: UInt64
    }

    public struct Block: Equatable, Sendable {
        public let address: UInt64
        public let bytes: [UInt8]
    }

    /// How the first vCPU enters the kernel.
    public enum Entry: Equatable, Sendable {
        /// 64-bit mode, rsi = zero page.
        case long(rip: UInt64)
        /// 32-bit protected mode without paging, ebx = `hvm_start_info`.
        case pvh(rip: UInt64)
    }

    public private(set) var loads: [FileLoad] = []
    /// Memory that the kernel expects zero and no file fills. Fresh RAM is zero already.
    public private(set) var zeroed: [GuestRange] = []
    /// Tables, all below 1 MiB.
    public private(set) var blocks: [Block] = []
    public let entry: Entry
    /// Where the initrd goes.
    public let initrd: GuestRange?
    /// What the kernel occupies.
    public let kernel: [GuestRange]

    /// What x86-64 Linux takes (COMMAND_LINE_SIZE without the NUL), for kernels without a header that says so.
    static let defaultCommandLineLimit: UInt64 = 2047

    /// - Parameters:
    ///   - initrdSize: in bytes, nil for none.
    ///   - commandLine: without a NUL.
    ///   - apicIDs: of the present CPUs, bootstrap processor first; for the MP table.
    ///   - rsdp: guest physical address where the machine puts the ACPI root pointer; nil for a machine without ACPI.
    public init(
        image: KernelImage, initrdSize: UInt64?, commandLine: [UInt8], layout: X86MemoryLayout, apicIDs: [UInt32],
        rsdp: UInt64?
    ) throws(X86BootPlanError) {
        if let rsdp {
            guard X86MemoryLayout.acpi..<X86MemoryLayout.highMemory ~= rsdp, rsdp & 15 == 0 else {
                throw .rsdpAddress(rsdp)
            }
        }
        let mpTable = try MPTable(apicIDs: apicIDs)
        try Self.checkCommandLine(commandLine, limit: Self.commandLineLimit(image))
        let placement = try KernelPlacement(image, layout: layout)
        kernel = placement.ranges
        entry = placement.entry
        initrd = try initrdSize.map { size throws(X86BootPlanError) in
            try Self.placeInitrd(size: size, image: image, kernel: placement.ranges, layout: layout)
        }
        loads = placement.loads
        zeroed = placement.zeroed
        if let initrd { loads.append(FileLoad(file: .initrd, fileOffset: 0, count: initrd.count, address: initrd.start)) }

        let memoryMap = layout.memoryMap(acpiTables: rsdp != nil)
        add(X86MemoryLayout.gdt, (entry.isLong ? DescriptorTables.long : .flat32).bytes)
        switch entry {
        case .long:
            let page = BootParameters(
                setupHeader: image.setupHeader, commandLineLength: UInt32(truncatingIfNeeded: commandLine.count),
                initrd: initrd, memoryMap: memoryMap, rsdp: rsdp)
            add(X86MemoryLayout.zeroPage, page.bytes)
            add(X86MemoryLayout.pageTables, IdentityPageTables.bytes)
        case .pvh:
            add(X86MemoryLayout.pvhStartInfo, PVHStartInfo(initrd: initrd, memoryMap: memoryMap, rsdp: rsdp).bytes)
        }
        add(X86MemoryLayout.commandLine, commandLine + [0])
        add(X86MemoryLayout.ebda, mpTable.floatingPointer)
        add(mpTable.configurationAddress, mpTable.configuration)
    }

    private mutating func add(_ address: UInt64, _ bytes: [UInt8]) {
        blocks.append(Block(address: address, bytes: bytes))
    }

    private static func commandLineLimit(_ image: KernelImage) -> UInt64 {
        let limit = if case .bzImage(let kernel) = image { kernel.commandLineLimit } else { defaultCommandLineLimit }
        return min(limit, X86MemoryLayout.commandLineSize - 1)
    }

    private static func checkCommandLine(_ commandLine: [UInt8], limit: UInt64) throws(X86BootPlanError) {
        // A NUL would end the line early and silently drop what the machine appends for its devices.
        if let position = commandLine.firstIndex(of: 0) { throw .commandLineHasNUL(at: position) }
        guard UInt64(commandLine.count) <= limit else {
            throw .commandLineTooLong(length: UInt64(commandLine.count), limit: limit)
        }
    }

    /// As high as the kernel reads it, on a page boundary.
    private static func placeInitrd(
        size: UInt64, image: KernelImage, kernel: [GuestRange], layout: X86MemoryLayout
    ) throws(X86BootPlanError) -> GuestRange {
        guard size > 0 else { throw .initrdEmpty }
        var limit = min(X86MemoryLayout.initrdLimit, layout.bootLimit)
        if case .bzImage(let kernel) = image { limit = min(limit, kernel.initrdAddressMaximum) }
        guard size <= limit, case let start = (limit - size) & ~0xfff, start >= X86MemoryLayout.highMemory,
            let range = GuestRange(start: start, count: size)
        else { throw .initrdDoesNotFit(size: size, limit: limit) }
        for occupied in kernel where occupied.overlaps(range) {
            throw .initrdOverlapsKernel(range, kernel: occupied)
        }
        return range
    }
}

extension X86BootPlan.Entry {
    var isLong: Bool { if case .long = self { true } else { false } }
}

extension KernelImage {
    fileprivate var setupHeader: [UInt8] { if case .bzImage(let kernel) = self { kernel.setupHeader } else { [] } }
}
