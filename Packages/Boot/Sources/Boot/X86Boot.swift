internal import AddressSpace
internal import BootCommon
public import BootX86

/// What the user and the machine decide about direct boot.
public struct X86BootConfiguration: Equatable, Sendable {
    public var kernelPath: String
    public var initrdPath: String?
    /// All of it, including what the machine appends for its devices.
    public var commandLine: String
    public var layout: X86MemoryLayout
    /// Local APIC ids of the present CPUs, 1...254 of them, bootstrap processor first: `CPUTopology.apicID(of:)`.
    public var apicIDs: [UInt32]
    /// Where the machine puts the ACPI root pointer, 0xe0000 ..< 0x100000; nil without ACPI. The machine writes the
    /// tables itself.
    public var rsdp: UInt64?
    /// RAM that no guest has run in yet is zero. On a reset it is not: the kernel's bss is then cleared here.
    public var memoryIsFresh: Bool

    public init(
        kernelPath: String, initrdPath: String? = nil, commandLine: String, layout: X86MemoryLayout, apicIDs: [UInt32],
        rsdp: UInt64? = nil, memoryIsFresh: Bool = true
    ) {
        self.kernelPath = kernelPath
        self.initrdPath = initrdPath
        self.commandLine = commandLine
        self.layout = layout
        self.apicIDs = apicIDs
        self.rsdp = rsdp
        self.memoryIsFresh = memoryIsFresh
    }
}

/// Direct boot on x86_64: no firmware, the first vCPU starts in the kernel.
public enum X86Boot {
    /// Everything about `load` but the registers.
    static func fill(
        _ memory: GuestMemory, _ configuration: X86BootConfiguration
    ) throws(BootError) -> X86BootPlan.Entry {
        let kernel = try BootFile.open(.kernel, path: configuration.kernelPath)
        let image = try recognise(kernel)
        // Optional noncopyable values cannot be borrowed out of, hence two branches.
        guard let initrdPath = configuration.initrdPath else {
            let plan = try plan(image, initrd: nil, initrdSize: nil, kernel: kernel.name, configuration)
            try write(plan, from: kernel, to: memory, clearing: !configuration.memoryIsFresh)
            return plan.entry
        }
        let initrd = try BootFile.open(.initrd, path: initrdPath)
        let plan = try plan(image, initrd: initrd.name, initrdSize: initrd.size, kernel: kernel.name, configuration)
        try write(plan, from: kernel, to: memory, clearing: !configuration.memoryIsFresh)
        try read(plan.loads, of: initrd, into: memory)
        return plan.entry
    }

    private static func recognise(_ kernel: borrowing BootFile) throws(BootError) -> KernelImage {
        do throws(KernelImageError) {
            return try KernelImage(recognising: kernel)
        } catch .source(let error) {
            throw BootError(kernel.name, error)
        } catch {
            throw .x86Image(kernel.name, error)
        }
    }

    private static func plan(
        _ image: KernelImage, initrd: BootFileName?, initrdSize: UInt64?, kernel: BootFileName,
        _ configuration: X86BootConfiguration
    ) throws(BootError) -> X86BootPlan {
        do throws(X86BootPlanError) {
            return try X86BootPlan(
                image: image, initrdSize: initrdSize, commandLine: Array(configuration.commandLine.utf8),
                layout: configuration.layout, apicIDs: configuration.apicIDs, rsdp: configuration.rsdp)
        } catch {
            throw .x86Plan(BootFileName.of(error.file, kernel: kernel, initrd: initrd), error)
        }
    }

    private static func write(
        _ plan: X86BootPlan, from kernel: borrowing BootFile, to memory: GuestMemory, clearing: Bool
    ) throws(BootError) {
        try read(plan.loads, of: kernel, into: memory)
        if clearing {
            for range in plan.zeroed {
                try wrap(range.start) { () throws(GuestMemoryError) in
                    try memory.fill(at: range.start, count: range.count)
                }
            }
        }
        for block in plan.blocks {
            try wrap(block.address) { () throws(GuestMemoryError) in
                try memory.write(at: block.address, bytes: block.bytes)
            }
        }
    }

    private static func read(
        _ loads: [X86BootPlan.FileLoad], of file: borrowing BootFile, into memory: GuestMemory
    ) throws(BootError) {
        for load in loads where load.file == file.name.file {
            try file.load(from: load.fileOffset, count: load.count, to: load.address, of: memory)
        }
    }

    private static func wrap(
        _ address: UInt64, _ body: () throws(GuestMemoryError) -> Void
    ) throws(BootError) {
        do throws(GuestMemoryError) {
            try body()
        } catch {
            throw .memory(address: address, error)
        }
    }
}
