internal import AddressSpace
internal import CPU
internal import Devices
internal import Hypervisor
internal import LinuxSys
internal import MachineManager

/// What a microVM is on one architecture. `MicroVM` calls it on the event loop's thread, in the order of this text; nothing of it belongs to the host, so that
/// every platform works, and is tested, on every host.
protocol MachinePlatform: AnyObject {
    static var architecture: GuestArchitecture { get }

    /// `memory` is the guest's physical address space, still empty.
    init(_ config: VmConfig, memory: AddressSpace, hypervisor: any VirtualMachine, loop: EventLoop)

    /// Where virtio devices go.
    var bus: SysBus { get }
    /// The port space; nil where there are no ports.
    var ports: AddressSpace? { get }
    var bootTimer: BootTimer { get }
    /// Nil where there is no GIC, or none yet.
    var gicVersion: VmConfig.GICVersion? { get }

    /// First of all: refuses what the host or the architecture lacks.
    func prepare() throws(MachineError)

    /// Where RAM is that consists of mappings of these sizes, one after the other in the guest. Their sum is far below 2^64.
    func ramParts(sizes: [UInt64]) -> [RAMPart]

    /// Before the first vCPU, and after guest memory: the kernel waits for devices that came to be a moment ago, some milliseconds, when it is given memory.
    func makeInterruptControllers() throws(MachineError)

    /// What the hypervisor is to call a vCPU.
    func hardwareID(of index: Int, in topology: CPUTopology) -> UInt32

    /// Each vCPU as soon as it is made, in the order of their indexes.
    func initialize(_ cpu: any VirtualCPU, index: Int) throws(MachineError)

    /// After the last vCPU, before anything that has an interrupt.
    func completeVCPUs() throws(MachineError)

    /// Where memory devices may be: behind RAM, as far as the guest can address. After `initialize` of the first vCPU.
    func memoryDeviceArea() throws(MachineError) -> MemoryDeviceArea

    /// What every machine has. `end` is called on a vCPU's thread when the guest turns the machine off or resets it.
    func realizeFixedDevices(end: @escaping @Sendable (ShutdownReason) -> Void) throws(MachineError)

    /// Kernel, initrd and tables into guest memory, when all devices are on the bus; what the vCPUs start with.
    func loadGuest(topology: CPUTopology) throws(MachineError) -> any VCPUReset

    /// The serial port and its peer, served from now on. The last thing before vCPUs start: a start that fails must leave no file, socket or raw terminal.
    func startSerial(_ backend: any CharBackend) throws(MachineError)

    func pressPowerButton()

    /// Lets the serial port's peer go. Any number of times.
    func stop()
}

/// A part of guest RAM: `size` bytes from `offset` of a mapping on, at guest physical address `base`.
struct RAMPart: Equatable, Sendable {
    let name: String
    let base: UInt64
    let size: UInt64
    /// Which mapping, in the order of their sizes: the only one, or that of a node.
    let memory: Int
    let offset: UInt64
}

/// A part of the guest's physical address space that is something's in every machine of an architecture.
struct FixedRange: Equatable, Sendable {
    let name: String
    let range: Range<UInt64>

    init(_ name: String, at base: UInt64, size: UInt64) {
        self.name = name
        range = base..<base + size
    }
}

extension MachinePlatform {
    func makeInterruptControllers() throws(MachineError) {}

    func line(_ gsi: UInt32, of hypervisor: any VirtualMachine) throws(MachineError) -> any InterruptLine {
        try lift(MachineError.hypervisor) { () throws(HypervisorError) in try hypervisor.makeInterruptLine(gsi: gsi) }
    }

    func place(_ device: StaticString, _ body: () throws(AddressSpaceError) -> Void) throws(MachineError) {
        try lift({ MachineError.place(device: device, $0) }, body)
    }
}
