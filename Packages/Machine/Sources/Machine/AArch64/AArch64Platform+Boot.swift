internal import AddressSpace
internal import Boot
internal import BootCommon
internal import CPU
internal import Devices
internal import FDT
internal import LinuxSys
internal import MachineManager

extension AArch64Platform {
    /// Kernel, initrd and device tree into guest memory.
    func loadGuest(topology: CPUTopology) throws(MachineError) -> any VCPUReset {
        let map = try layout()
        let boot = AArch64BootConfiguration(
            kernelPath: config.boot.kernel, initrdPath: config.boot.initrd, ramBase: map.ram.lowerBound, ramSize: map.ram.upperBound - map.ram.lowerBound)
        let loaded = try lift(MachineError.boot) { () throws(BootError) in try AArch64Boot.load(boot, into: memory.memory) }
        let tree = try deviceTree(topology, map, initrd: loaded.initrd.map { $0.start..<$0.end }, limit: Int(clamping: loaded.deviceTree.count))
        try lift(MachineError.writeDeviceTree) { () throws(GuestMemoryError) in try memory.memory.write(at: loaded.deviceTree.start, bytes: tree) }
        if let path = config.machine.deviceTreeDump { try dump(tree, to: path) }
        return AArch64Reset(AArch64RegisterImage(entry: loaded.entry, deviceTree: loaded.deviceTree.start), vcpus: topology.cpus)
    }

    private func deviceTree(
        _ topology: CPUTopology, _ map: AArch64MemoryMap, initrd: Range<UInt64>?, limit: Int
    ) throws(MachineError) -> [UInt8] {
        guard let gic else { throw .wrongState }
        let seeds = try lift(MachineError.random) { () throws(Errno) in
            (kaslr: try RandomBytes.make(AArch64DeviceTree.kaslrSeedSize), rng: try RandomBytes.make(AArch64DeviceTree.rngSeedSize))
        }
        let tree = AArch64DeviceTree(
            config: config, topology: topology, affinities: try affinities(), gic: gic, layout: map.gic, slots: bus.slots, initrd: initrd,
            kaslrSeed: seeds.kaslr, rngSeed: seeds.rng)
        return try lift(MachineError.deviceTree) { () throws(FDTError) in try tree.build(limit: limit) }
    }

    /// For the user to look at; the machine is not started then.
    private func dump(_ tree: [UInt8], to path: String) throws(MachineError) {
        try lift({ MachineError.dumpDeviceTree(path: path, $0) }) { () throws(Errno) in
            let file = try SysFile.open(path, [.readWrite, .create, .exclusive])
            try file.writeAll(tree)
        }
    }
}
