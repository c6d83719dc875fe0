internal import AddressSpace
internal import Boot
internal import BootX86
internal import CPU
internal import Devices
internal import MachineManager

extension X86Platform {
    /// Kernel, initrd and tables into guest memory; the registers of the first vCPU.
    ///
    /// A kernel finds its virtio-mmio devices in the DSDT or, without ACPI, by words on its command line. A kernel that reads both claims each window once:
    /// the second description finds it taken. Devices beyond the ISA interrupts are in the DSDT only.
    func loadGuest(topology: CPUTopology) throws(MachineError) -> any VCPUReset {
        let slots = bus.slots
        let layout = try lift(MachineError.layout) { () throws(X86BootPlanError) in
            try X86MemoryLayout(ramSize: config.memory.size, gapStart: X86MemoryMap.gapStart, gapEnd: X86MemoryMap.gapEnd)
        }
        let apicIDs = (0..<topology.cpus).map { topology.apicID(of: $0) }
        try writeACPITables(apicIDs: apicIDs, nodes: nodes(apicIDs), slots: slots, hasSerial: config.serial != nil)
        // Not `joined(separator:)`, as in `VmConfigBuilder.finish`.
        let commandLine = slots.compactMap(\.virtioMMIOCommandLineWord).reduce(into: config.boot.kernelArguments) { text, word in
            text += text.isEmpty ? word : " " + word
        }
        let boot = X86BootConfiguration(
            kernelPath: config.boot.kernel, initrdPath: config.boot.initrd,
            commandLine: commandLine, layout: layout, apicIDs: apicIDs, rsdp: X86MemoryLayout.acpi)
        let registers = try lift(MachineError.boot) { () throws(BootError) in try X86Boot.load(boot, into: memory.memory) }
        return X86Reset(registers)
    }

    /// The nodes with the parts of RAM that their memory is.
    private func nodes(_ apicIDs: [UInt32]) -> [ACPIConfiguration.Node] {
        let parts = ramParts(sizes: config.nodeMemory.map(\.size))
        // Nodes without memory take no place in the order of the memories.
        let withMemory = config.nodes.filter { $0.memory != nil }
        return config.nodes.map { node in
            let memory = withMemory.firstIndex { $0.number == node.number }
            return ACPIConfiguration.Node(
                number: node.number, apicIDs: node.cpus.compactMap { Int($0) < apicIDs.count ? apicIDs[Int($0)] : nil },
                memory: parts.filter { $0.memory == memory }.map { .init(base: $0.base, size: $0.size) },
                distances: config.nodes.map { node.distance(to: $0.number) })
        }
    }

    private func writeACPITables(
        apicIDs: [UInt32], nodes: [ACPIConfiguration.Node], slots: [SysBusSlot], hasSerial: Bool
    ) throws(MachineError) {
        var configuration = ACPIConfiguration(apicIDs: apicIDs, devices: slots.map(\.acpiDevice))
        configuration.nodes = nodes
        configuration.hasSerial = hasSerial
        configuration.baseAddress = X86MemoryLayout.acpi
        let tables = try lift(MachineError.acpi) { () throws(ACPIError) in try ACPITables.build(configuration) }
        try lift(MachineError.tables) { () throws(GuestMemoryError) in
            try memory.memory.write(at: X86MemoryLayout.acpi, bytes: tables)
        }
    }
}
