internal import AddressSpace
internal import CPU
internal import Hypervisor
internal import LinuxSys
internal import MachineManager

extension MicroVM {
    /// Step 3 of a start: brings every part to life, in the order in which they need each other. Afterwards the guest's memory holds kernel and tables, and
    /// each vCPU holds its first registers; nothing runs yet. Once. When it throws, the machine is of no further use.
    public func realize() throws(MachineError) {
        guard !isRealized else { throw .wrongState }
        isRealized = true
        try platform.prepare()
        try realizeMemory()
        try platform.makeInterruptControllers()
        let topology = try lift(MachineError.topology) { () throws(CPUTopologyError) in try CPUTopology(config.processors) }
        try realizeVCPUs(topology)
        try realizeMemoryDevices()
        try platform.realizeFixedDevices { [weak self] reason in self?.guestRequestedEnd(reason) }
        try realizeDevices()
        let reset = try Trace.scope(.bootLoad, config.boot.kernel) { () throws(MachineError) in try platform.loadGuest(topology: topology) }
        preferHugePages()
        for vcpu in vcpus { vcpu.prepare(reset) }
    }

    /// RAM is one lazy mapping, or one for each node; regions show its parts where the platform wants them. The listener hands them to the hypervisor.
    private func realizeMemory() throws(MachineError) {
        let size = config.memory.size
        let memories = try makeRAM()
        try lift({ MachineError.memory(size: size, $0) }) { () throws(AddressSpaceError) in
            try memory.addListener(hypervisor.memoryListener())
            try memory.transaction { () throws(AddressSpaceError) in
                for part in platform.ramParts(sizes: memories.map(\.size)) {
                    let region = try Region.ram(name: part.name, size: part.size, memory: memories[part.memory], memoryOffset: part.offset)
                    try memory.root.add(region, at: part.base)
                }
            }
        }
    }

    /// After the guest was loaded: one that does little touches no more than what has small pages by now. Not where a balloon takes single pages out, which the
    /// kernel would bring back to make huge ones.
    private func preferHugePages() {
        let hasBalloon = config.devices.contains { if case .virtioBalloon = $0 { true } else { false } }
        if !hasBalloon { memory.memory.preferHugePages() }
    }

    private func realizeVCPUs(_ topology: CPUTopology) throws(MachineError) {
        self.topology = topology
        vcpus.reserveCapacity(topology.cpus)
        for index in 0..<topology.cpus {
            let virtualCPU = try lift(MachineError.hypervisor) { () throws(HypervisorError) in
                try hypervisor.createVCPU(id: platform.hardwareID(of: index, in: topology))
            }
            try platform.initialize(virtualCPU, index: index)
            vcpus.append(
                VCPU(
                    id: index, virtualCPU: virtualCPU, ports: platform.ports, memory: memory, topology: topology,
                    onExit: { [weak self] id, reason in self?.vcpuStopped(id, reason) }))
        }
        try platform.completeVCPUs()
    }
}

extension CPUTopology {
    /// What `-smp` says; the parser has derived every number.
    init(_ processors: VmConfig.Processors) throws(CPUTopologyError) {
        try self.init(
            cpus: Int(processors.count), maxcpus: Int(processors.maximum), sockets: Int(processors.sockets), dies: Int(processors.dies),
            clusters: Int(processors.clusters), cores: Int(processors.cores), threads: Int(processors.threads))
    }
}
