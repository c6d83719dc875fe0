public import AddressSpace
public import BootX86
public import CPU

extension X86Boot {
    /// Recognises the kernel, checks that everything fits, then writes kernel, initrd and tables to `memory`. Nothing is
    /// written when a check fails. Blocks while it reads; any thread, before the vCPUs run.
    /// - Returns: the registers of every vCPU; only the first starts to run by itself.
    public static func load(
        _ configuration: X86BootConfiguration, into memory: GuestMemory
    ) throws(BootError) -> X86RegisterImage {
        registers(for: try fill(memory, configuration))
    }

    /// The state that the entry's boot protocol asks for.
    public static func registers(for entry: X86BootPlan.Entry) -> X86RegisterImage {
        switch entry {
        case .long(let rip): longModeRegisters(rip: rip)
        case .pvh(let rip): pvhRegisters(rip: rip)
        }
    }

    private static let protectionEnable: UInt64 = 1 << 0
    private static let extensionType: UInt64 = 1 << 4
    private static let paging: UInt64 = 1 << 31
    private static let physicalAddressExtension: UInt64 = 1 << 5
    private static let longModeEnableAndActive: UInt64 = 1 << 8 | 1 << 10

    /// 64-bit boot protocol (Documentation/arch/x86/boot.rst): long mode, identity mapping, rsi = zero page.
    private static func longModeRegisters(rip: UInt64) -> X86RegisterImage {
        var image = X86RegisterImage()
        image.load(.long)
        image.rip = rip
        image.rsp = X86MemoryLayout.stackTop
        image.rbp = X86MemoryLayout.stackTop
        image.rsi = X86MemoryLayout.zeroPage
        image.cr0 |= protectionEnable | paging
        image.cr3 = X86MemoryLayout.pageTables
        image.cr4 |= physicalAddressExtension
        image.efer |= longModeEnableAndActive
        return image
    }

    /// x86/HVM direct boot ABI: 32-bit flat segments, paging off, all other control bits clear, ebx = start info.
    private static func pvhRegisters(rip: UInt64) -> X86RegisterImage {
        var image = X86RegisterImage()
        image.load(.flat32)
        image.tr = X86Segment(
            selector: DescriptorTables.flat32.taskSelector, descriptor: SegmentDescriptor.task.encoded)
        image.rip = rip
        image.rbx = X86MemoryLayout.pvhStartInfo
        // ET reads as one whatever is written.
        image.cr0 = protectionEnable | extensionType
        return image
    }
}

extension X86RegisterImage {
    fileprivate mutating func load(_ tables: DescriptorTables) {
        cs = tables.segment(tables.codeSelector)
        let data = tables.segment(tables.dataSelector)
        (ds, es, fs, gs, ss) = (data, data, data, data, data)
        gdtBase = X86MemoryLayout.gdt
        gdtLimit = tables.gdtLimit
        idtBase = X86MemoryLayout.idt
        idtLimit = tables.idtLimit
    }
}

extension DescriptorTables {
    /// What a segment register holds once `selector` is loaded; the null segment for one that the GDT has not.
    fileprivate func segment(_ selector: UInt16) -> X86Segment {
        let index = Int(selector / 8)
        let entry = entries.indices.contains(index) ? entries[index] : .null
        return X86Segment(selector: selector, descriptor: entry.encoded)
    }
}
