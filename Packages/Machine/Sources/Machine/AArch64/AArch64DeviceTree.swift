internal import CPU
internal import Devices
internal import FDT
internal import Hypervisor
internal import MachineManager

/// What the guest's kernel is told of the machine (Devicetree Specification 0.4). The parts of the machine write their nodes; here are the root, the memory and
/// what the kernel is started with.
struct AArch64DeviceTree {
    /// `kaslr-seed` is one number of 64 bits.
    static let kaslrSeedSize = 8
    /// More than the kernel's pool can hold would be lost.
    static let rngSeedSize = 64

    let config: VmConfig
    let topology: CPUTopology
    /// MPIDR_EL1 of the vCPUs, by their indexes.
    let affinities: [UInt64]
    let gic: GICKind
    let layout: GICLayout
    /// The virtio devices.
    let slots: [SysBusSlot]
    let initrd: Range<UInt64>?
    /// Secrets of this start.
    let kaslrSeed: [UInt8]
    let rngSeed: [UInt8]

    /// - Parameter limit: most bytes that it may have.
    func build(limit: Int) throws(FDTError) -> [UInt8] {
        var tree = try FDTBuilder(limit: limit)
        try tree.beginNode("")
        // The kernel's name for a machine that is nothing but its device tree (arch/arm64/kernel and QEMU's virt).
        try tree.property("compatible", "linux,dummy-virt")
        try tree.property("model", "stratovirt,microvm")
        try tree.property("#address-cells", cells: [2])
        try tree.property("#size-cells", cells: [2])
        try tree.property("interrupt-parent", cells: [FDTPhandle.gic])
        try writeProcessors(to: &tree)
        try writeDevices(to: &tree)
        try writeMemory(to: &tree)
        try writeChosen(to: &tree)
        try tree.endNode()
        return try tree.finish()
    }

    private func writeProcessors(to tree: inout FDTBuilder) throws(FDTError) {
        let gicV2CPUs = gic == .v2 ? affinities.count : 0
        try tree.cpus(topology: topology, mpidrs: affinities) { config.node(ofCPU: UInt32(clamping: $0)) }
        try tree.psci()
        try tree.timer(gicV2CPUs: gicV2CPUs)
        if config.cpu.hasPMU { try tree.pmu(gicV2CPUs: gicV2CPUs) }
    }

    private func writeDevices(to tree: inout FDTBuilder) throws(FDTError) {
        try tree.gic(gic, layout)
        try tree.apbClock()
        if config.serial != nil { try tree.pl011() }
        try tree.pl031()
        try tree.powerKey()
        for slot in slots { try tree.virtioMMIO(slot) }
    }

    /// A node for each part of RAM, and how far the machine's nodes are from each other (kernel Documentation/devicetree/bindings/numa.txt). Memory devices tell of
    /// themselves.
    private func writeMemory(to tree: inout FDTBuilder) throws(FDTError) {
        // Nodes without memory take no place in the order of the memories.
        let numbers = config.nodes.filter { $0.memory != nil }.map(\.number)
        let sizes = config.nodes.isEmpty ? [config.memory.size] : config.nodeMemory.map(\.size)
        for part in AArch64MemoryMap.ramParts(sizes: sizes) {
            try tree.beginNode("memory@\(String(part.base, radix: 16))")
            try tree.property("device_type", "memory")
            try tree.property("reg", doubleCells: [part.base, part.size])
            if part.memory < numbers.count { try tree.property("numa-node-id", cells: [numbers[part.memory]]) }
            try tree.endNode()
        }
        guard !config.nodes.isEmpty else { return }
        try tree.beginNode("distance-map")
        try tree.property("compatible", "numa-distance-map-v1")
        let distances = config.nodes.flatMap { from in config.nodes.flatMap { to in [from.number, to.number, UInt32(from.distance(to: to.number))] } }
        try tree.property("distance-matrix", cells: distances)
        try tree.endNode()
    }

    /// What the kernel is started with (kernel Documentation/devicetree/usage-model.rst; dt-schema's chosen.yaml). The user's words stand alone: an early console
    /// would cost an exit for each byte.
    private func writeChosen(to tree: inout FDTBuilder) throws(FDTError) {
        try tree.beginNode("chosen")
        try tree.property("bootargs", config.boot.kernelArguments)
        if config.serial != nil { try tree.property("stdout-path", PL011.devicePath) }
        if let initrd {
            try tree.property("linux,initrd-start", doubleCells: [initrd.lowerBound])
            try tree.property("linux,initrd-end", doubleCells: [initrd.upperBound])
        }
        try tree.property("kaslr-seed", bytes: kaslrSeed)
        try tree.property("rng-seed", bytes: rngSeed)
        try tree.endNode()
    }
}
