internal import AddressSpace
internal import CPU
internal import Devices
internal import FDT
internal import Hypervisor
internal import LinuxSys
internal import MachineManager

/// What a microVM is on aarch64: interrupt controller, PrimeCells, memory map, device tree, direct boot. The guest powers off and resets by PSCI, which the
/// hypervisor answers and reports as an exit.
final class AArch64Platform: MachinePlatform {
    static let architecture = GuestArchitecture.aarch64

    let config: VmConfig
    let memory: AddressSpace
    private let hypervisor: any VirtualMachine
    let bus: SysBus
    private let loop: EventLoop
    let bootTimer = BootTimer()
    private var serial: PL011?
    private var powerKey: PL061PowerKey?

    /// From `prepare` on.
    private var map: AArch64MemoryMap?
    /// From `completeVCPUs` on.
    private(set) var gic: GICKind?
    private var cpus: [any AArch64VirtualCPU] = []

    init(_ config: VmConfig, memory: AddressSpace, hypervisor: any VirtualMachine, loop: EventLoop) {
        self.config = config
        self.memory = memory
        self.hypervisor = hypervisor
        self.loop = loop
        bus = SysBus(
            memory: memory.root, ports: nil, machine: hypervisor, interrupts: AArch64MemoryMap.virtioInterrupts, window: AArch64MemoryMap.virtio.range)
    }

    var ports: AddressSpace? { nil }
    var gicVersion: VmConfig.GICVersion? { gic.map { $0 == .v2 ? .v2 : .v3 } }

    func prepare() throws(MachineError) {
        let machine = try machine()
        guard !config.cpu.hasPMU || machine.hasPMU else { throw .missingCPUFeature("pmu") }
        guard !config.cpu.hasSVE || machine.hasSVE else { throw .missingCPUFeature("sve") }
        guard !config.cpu.hasStealTime || machine.hasStolenTime else { throw .missingCPUFeature("kvm-steal-time") }
        let nodes = config.nodes.isEmpty ? [config.memory.size] : config.nodeMemory.map(\.size)
        map = try lift(MachineError.memoryMap) { () throws(MemoryMapError) in
            try AArch64MemoryMap(
                nodes: nodes, vcpus: Int(config.processors.count), addressBits: machine.physicalAddressBits, pageSize: HostPages.size)
        }
    }

    func ramParts(sizes: [UInt64]) -> [RAMPart] { AArch64MemoryMap.ramParts(sizes: sizes) }

    func hardwareID(of index: Int, in topology: CPUTopology) -> UInt32 { UInt32(clamping: index) }

    /// All but the first wait for PSCI CPU_ON.
    func initialize(_ cpu: any VirtualCPU, index: Int) throws(MachineError) {
        guard let cpu = cpu.aarch64 else { throw .hypervisor(.unsupported("aarch64 vCPUs")) }
        let features = AArch64CPUFeatures(pmu: config.cpu.hasPMU, sve: config.cpu.hasSVE)
        try hypervisor { () throws(HypervisorError) in try cpu.initialize(features, startsRunning: index == 0) }
        cpus.append(cpu)
    }

    /// The interrupt controller is made for the vCPUs that are there, and interrupt lines need it.
    func completeVCPUs() throws(MachineError) {
        let (machine, map) = (try machine(), try layout())
        let kind = try hypervisor { () throws(HypervisorError) in try machine.createGIC(map.gic, vcpus: cpus.count) }
        if config.machine.gicVersion == .v3, kind == .v2 { throw .noGICv3 }
        gic = kind
        if config.cpu.hasPMU {
            for cpu in cpus { try hypervisor { () throws(HypervisorError) in try cpu.enablePMU(interrupt: FDTBuilder.pmuInterrupt) } }
        }
        if config.cpu.hasStealTime { try realizeStolenTime() }
    }

    /// No RAM that the guest is told of, and none of a device's business; the guest learns the addresses by a call that the hypervisor answers (Arm DEN0057).
    private func realizeStolenTime() throws(MachineError) {
        let range = AArch64MemoryMap.stolenTime.range
        let size = range.upperBound - range.lowerBound
        try place("stolen time") { () throws(AddressSpaceError) in
            let pages = try HostMemory.anonymous(size: size, name: "stolen-time", options: .excludedFromDump)
            try memory.root.add(.ramDevice(name: "stolen-time", size: size, memory: pages), at: range.lowerBound)
        }
        for (index, cpu) in cpus.enumerated() {
            try hypervisor { () throws(HypervisorError) in try cpu.setStolenTime(address: AArch64MemoryMap.stolenTime(of: index)) }
        }
    }

    func memoryDeviceArea() throws(MachineError) -> MemoryDeviceArea { try layout().memoryDevices }

    /// Clock and power key, and the word of the boot timer.
    func realizeFixedDevices(end: @escaping @Sendable (ShutdownReason) -> Void) throws(MachineError) {
        let clock = PL031(line: try line(PL031.gsi, of: hypervisor), loop: loop)
        let key = PL061PowerKey(line: try line(PL061PowerKey.gsi, of: hypervisor))
        try place("platform devices") { () throws(AddressSpaceError) in
            try clock.attach(to: memory.root)
            try key.attach(to: memory.root)
            try bootTimer.attach(toMemory: memory.root)
        }
        powerKey = key
    }

    func startSerial(_ backend: any CharBackend) throws(MachineError) {
        let serial = PL011(line: try line(PL011.gsi, of: hypervisor), backend: backend)
        try place("serial port") { () throws(AddressSpaceError) in try serial.attach(to: memory.root) }
        self.serial = serial
        try lift(MachineError.chardev) { () throws(CharBackendError) in try serial.start(on: loop) }
    }

    func pressPowerButton() { powerKey?.press() }

    func stop() { serial?.stop() }

    // MARK: What must be there

    private func machine() throws(MachineError) -> any AArch64VirtualMachine {
        guard let machine = hypervisor.aarch64 else { throw .hypervisor(.unsupported("aarch64 machines")) }
        return machine
    }

    func layout() throws(MachineError) -> AArch64MemoryMap {
        guard let map else { throw .wrongState }
        return map
    }

    /// MPIDR_EL1 of each vCPU, by which the device tree names it.
    func affinities() throws(MachineError) -> [UInt64] {
        var found: [UInt64] = []
        for cpu in cpus { found.append(try hypervisor { () throws(HypervisorError) in try cpu.mpidr() }) }
        return found
    }

    private func hypervisor<Value>(_ body: () throws(HypervisorError) -> Value) throws(MachineError) -> Value {
        try lift(MachineError.hypervisor, body)
    }
}
