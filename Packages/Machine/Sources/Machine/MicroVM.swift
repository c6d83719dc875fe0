public import AddressSpace
internal import CPU
public import Hypervisor
public import LinuxSys
public import MachineManager
internal import Synchronization
internal import Virtio

/// A microVM: guest memory, vCPUs, virtio-mmio devices, and the few fixed devices that its architecture needs. No firmware and no PCI.
///
/// It comes to life in steps: `init` (empty), `realize` (everything exists, nothing runs), `start`, and in the end `shutDown`. All of them, and the
/// members of `MachineControl`, are for the event loop's thread; vCPU threads only ever reach `guestRequestedEnd` and `vcpuStopped`.
public final class MicroVM: @unchecked Sendable {
    let config: VmConfig
    let loop: EventLoop
    let hypervisor: any VirtualMachine
    /// Guest physical memory and MMIO.
    let memory: AddressSpace
    let platform: any MachinePlatform

    // SAFETY of @unchecked Sendable: what follows is written on the loop's thread only, before vCPU threads start or after they have ended; `vcpus` is
    // read by vCPU threads in between.
    var vcpus: [VCPU] = []
    var topology: CPUTopology?
    var ioThreads: [IOThread] = []
    /// By slot number, which is `addr` of device_add.
    var blockSlots: [DeviceSlot] = []
    var networkSlots: [DeviceSlot] = []
    var fixedDevices: [FixedDevice] = []
    var drives: [BlockNode] = []
    var netdevs: [NetworkNode] = []
    var chardevTable: Chardevs
    /// What is left behind only by a machine that has run.
    var newFiles: [NewFile] = []
    /// In the order of the command line.
    var memoryParts: [MemoryPart] = []
    var sizeReports: [String: SizeReport] = [:]
    /// The host's side of the virtio consoles.
    var consoleHost: ConsoleHost?
    var balloonNode: BalloonNode?
    var state = VMStateMachine()
    var isRealized = false
    private weak var eventSink: (any MachineEventSink)?
    private let ending = Mutex<ShutdownReason?>(nil)

    /// Step 2 of a start: address spaces, a bus with all interrupts free, no device.
    public convenience init(_ config: VmConfig, hypervisor: any VirtualMachine, loop: EventLoop) {
        self.init(config, hypervisor: hypervisor, loop: loop, platform: HostPlatform.self)
    }

    /// With the platform of another architecture than the host's only a hypervisor that runs nothing gets along.
    init(_ config: VmConfig, hypervisor: any VirtualMachine, loop: EventLoop, platform: any MachinePlatform.Type) {
        self.config = config
        self.hypervisor = hypervisor
        self.loop = loop
        chardevTable = Chardevs(config)
        // 52 bits is as far as physical addresses reach on either architecture.
        memory = AddressSpace(name: "memory", size: 1 << 52)
        self.platform = platform.init(config, memory: memory, hypervisor: hypervisor, loop: loop)
    }

    /// The guest's RAM, for loaders and tools beside the machine's own. Any thread.
    public var guestMemory: GuestMemory { memory.memory }

    /// Where events go. Weak: the sink usually owns a reference to the machine.
    public func reportEvents(to sink: any MachineEventSink) { eventSink = sink }

    func emit(_ event: MachineEvent) { eventSink?.emit(event) }

    /// Every virtio device, filled slot or not, in the order of their addresses.
    var transports: [VirtioMMIODevice] { (blockSlots + networkSlots).map(\.transport) + fixedDevices.map(\.transport) }

    /// Why the machine ended; nil while it has not. Any thread.
    public var endReason: ShutdownReason? { ending.withLock { $0 } }

    /// Notes the first reason to end; false when there is one already. Any thread.
    func noteEnd(_ reason: ShutdownReason) -> Bool {
        ending.withLock { ending in
            if ending != nil { return false }
            ending = reason
            return true
        }
    }
}
