internal import AddressSpace
internal import BootX86
internal import CPU
internal import Devices
internal import Hypervisor
internal import LinuxSys
internal import MachineManager

/// What a microVM is on x86_64: port space, fixed devices, memory map, tables, direct boot.
final class X86Platform: MachinePlatform {
    static let architecture = GuestArchitecture.x86_64

    let config: VmConfig
    let memory: AddressSpace
    private let portSpace = AddressSpace(name: "ports", size: 1 << 16)
    let hypervisor: any VirtualMachine
    let bus: SysBus
    let loop: EventLoop
    /// Behind the last address that the guest can use; from the first vCPU on.
    private var addressLimit: UInt64 = 0
    private var serial: Serial16550?
    private var powerButton: PowerButton?
    let bootTimer = BootTimer()

    init(_ config: VmConfig, memory: AddressSpace, hypervisor: any VirtualMachine, loop: EventLoop) {
        self.config = config
        self.memory = memory
        self.hypervisor = hypervisor
        self.loop = loop
        bus = SysBus(memory: memory.root, ports: portSpace.root, machine: hypervisor)
    }

    var ports: AddressSpace? { portSpace }
    var gicVersion: VmConfig.GICVersion? { nil }

    func ramParts(sizes: [UInt64]) -> [RAMPart] { X86MemoryMap.ramParts(sizes: sizes) }

    func prepare() throws(MachineError) {
        if config.machine.gicVersion != nil { throw .otherArchitecture(option: "-machine: gic-version=", .aarch64) }
        if config.machine.deviceTreeDump != nil { throw .otherArchitecture(option: "-machine: dumpdtb=", .aarch64) }
    }

    /// A vCPU made earlier would have no local APIC.
    func makeInterruptControllers() throws(MachineError) {
        try lift(MachineError.hypervisor) { () throws(HypervisorError) in try hypervisor.createIRQChip() }
    }

    /// The APIC id.
    func hardwareID(of index: Int, in topology: CPUTopology) -> UInt32 { topology.apicID(of: index) }

    /// The first one tells how far addresses reach.
    func initialize(_ cpu: any VirtualCPU, index: Int) throws(MachineError) {
        guard index == 0 else { return }
        addressLimit = try lift(MachineError.hypervisor) { () throws(HypervisorError) in try X86MemoryMap.addressLimit(of: cpu) }
        guard ramEnd <= addressLimit else { throw .memoryMap(.tooMuchRAM(end: ramEnd, limit: addressLimit)) }
    }

    func completeVCPUs() throws(MachineError) {}

    func memoryDeviceArea() throws(MachineError) -> MemoryDeviceArea { X86MemoryMap.memoryDevices(ramEnd: ramEnd, limit: addressLimit) }

    private var ramEnd: UInt64 { memory.memory.ramRanges().last.map { $0.base &+ $0.size } ?? 0 }

    /// Keyboard controller, clock and power.
    func realizeFixedDevices(end: @escaping @Sendable (ShutdownReason) -> Void) throws(MachineError) {
        let clock = CMOSRTC(line: try line(CMOSRTC.gsi, of: hypervisor), loop: loop)
        let button = PowerButton(line: try line(PowerButton.gsi, of: hypervisor))
        let keyboard = I8042(reset: { end(.guestReset) })
        let power = PowerControl(guestShutdown: { end(.guestShutdown) }, guestReset: { end(.guestReset) })
        try place("platform devices") { () throws(AddressSpaceError) in
            try portSpace.addListener(hypervisor.portListener())
            try keyboard.attach(to: portSpace.root)
            try power.attach(to: portSpace.root)
            try clock.attach(to: portSpace.root)
            try bootTimer.attach(to: portSpace.root)
            try button.attach(to: memory.root)
        }
        powerButton = button
    }

    func startSerial(_ backend: any CharBackend) throws(MachineError) {
        let serial = Serial16550(line: try line(Serial16550.gsi, of: hypervisor), backend: backend)
        try place("serial port") { () throws(AddressSpaceError) in try serial.attach(to: portSpace.root) }
        self.serial = serial
        try lift(MachineError.chardev) { () throws(CharBackendError) in try serial.start(on: loop) }
    }

    func stop() { serial?.stop() }

    func pressPowerButton() { powerButton?.press() }
}
