internal import BootCommon

/// Where the parts of a kernel go, checked against RAM and the boot tables.
struct KernelPlacement {
    private(set) var ranges: [GuestRange] = []
    private(set) var loads: [X86BootPlan.FileLoad] = []
    private(set) var zeroed: [GuestRange] = []
    let entry: X86BootPlan.Entry

    /// All that a kernel must keep off below 1 MiB: tables, page tables, stack and command line, then EBDA to 1 MiB.
    private static let bootTables = [
        GuestRange(start: 0, end: X86MemoryLayout.commandLine + X86MemoryLayout.commandLineSize),
        GuestRange(start: X86MemoryLayout.ebda, end: X86MemoryLayout.highMemory),
    ].compactMap { $0 }

    init(_ image: KernelImage, layout: X86MemoryLayout) throws(X86BootPlanError) {
        switch image {
        case .bzImage(let kernel):
            entry = .long(rip: kernel.entry)
            try place(.kernel, kernel.range, layout: layout)
            load(from: kernel.payloadOffset, count: kernel.payloadSize, at: kernel.range.start)
        case .flat(let size):
            entry = .long(rip: X86MemoryLayout.flatKernel)
            guard let range = GuestRange(start: X86MemoryLayout.flatKernel, count: size) else {
                throw .kernelWraps(at: X86MemoryLayout.flatKernel)
            }
            try place(.kernel, range, layout: layout)
            load(from: 0, count: size, at: range.start)
        case .elf(let kernel):
            switch kernel.entry {
            case .long(let address): entry = .long(rip: address)
            case .pvh(let address): entry = .pvh(rip: address)
            }
            for segment in kernel.segments {
                try place(.segment(segment.index), segment.range, layout: layout)
                load(from: segment.fileOffset, count: segment.fileSize, at: segment.range.start)
                if let bss = GuestRange(start: segment.range.start &+ segment.fileSize, end: segment.range.end),
                    !bss.isEmpty
                {
                    zeroed.append(bss)
                }
            }
        }
    }

    private mutating func place(
        _ part: X86BootPlanError.Part, _ range: GuestRange, layout: X86MemoryLayout
    ) throws(X86BootPlanError) {
        guard range.end <= layout.bootLimit else { throw .doesNotFit(part, range, limit: layout.bootLimit) }
        for tables in Self.bootTables where tables.overlaps(range) { throw .overlapsBootTables(part, range) }
        ranges.append(range)
    }

    private mutating func load(from offset: UInt64, count: UInt64, at address: UInt64) {
        guard count > 0 else { return }
        loads.append(X86BootPlan.FileLoad(file: .kernel, fileOffset: offset, count: count, address: address))
    }
}
