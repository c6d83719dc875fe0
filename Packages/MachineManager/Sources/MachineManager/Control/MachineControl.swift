/// What management interfaces ask of a machine. Every call comes on the event loop's thread and returns soon; what takes long (a guest that shuts down,
/// the process's end) is only requested, and told by an event when it happens.
public protocol MachineControl: AnyObject, Sendable {
    var architecture: GuestArchitecture { get }
    func status() -> VMState
    /// Stops the vCPUs; emits `stop` when that changes the state. Pausing a paused machine changes nothing.
    func pause() throws(MachineControlError)
    /// Lets the vCPUs run; emits `resume`.
    func resume() throws(MachineControlError)
    /// Presses the power button; emits `powerdown`.
    func requestPowerdown() throws(MachineControlError)
    /// Presses the reset button.
    func requestReset() throws(MachineControlError)
    /// Ends the machine and the process; emits `shutdown`. The answer to the command is sent before.
    func requestQuit()
    /// The vCPUs that are there, by id.
    func cpus() -> [CPUInfo]
    /// Every place for a vCPU, filled or not, by id.
    func cpuSlots() -> [CPUSlot]

    /// Opens an image as a node that a device can use. Its id is unique among drives.
    func addBlockNode(_ drive: VmConfig.Drive) throws(MachineControlError)
    /// Closes a node that no device uses.
    func removeBlockNode(_ id: String) throws(MachineControlError)
    /// Changes what the drive with this id, or the one behind the device with this id, may do.
    func setThrottle(_ id: String, _ throttle: VmConfig.Throttle) throws(MachineControlError)
    /// Opens a network back end that a device can use. The descriptors are `netdev`'s own in its order, resolved to numbers; they belong to the machine
    /// from here on, also when it throws.
    func addNetdev(_ netdev: VmConfig.Netdev, descriptors: [Int32], vhostDescriptors: [Int32]) throws(MachineControlError)
    /// Closes a back end that no device uses.
    func removeNetdev(_ id: String) throws(MachineControlError)
    /// Puts a new back end in the place of the one with the same id, which a device uses, and closes the old one. When it throws, the old one stays.
    func replaceNetdev(_ netdev: VmConfig.Netdev) throws(MachineControlError)
    /// Fills an empty slot; the guest is told.
    func addDevice(_ request: HotplugRequest) throws(MachineControlError)
    /// Empties the slot of a device; the guest is told. Emits `deviceDeleted`.
    func removeDevice(_ id: String) throws(MachineControlError)
    /// The link of the network device with this id, or of the one that uses the back end with this id, as the guest sees it.
    func setLink(_ id: String, up: Bool) throws(MachineControlError)

    /// Nil when the machine has no balloon.
    func balloon() -> BalloonInfo?
    /// Has the guest fill the balloon until it has `bytes` left, or empty it; more than its RAM means all of it. Emits `balloonChanged` as it happens. Nothing
    /// without a balloon.
    func setBalloon(_ bytes: UInt64)
    /// Seconds between two requests for the guest's statistics; 0 for none.
    func setBalloonPolling(_ seconds: UInt32)
    /// Asks the guest to have `size` bytes of a virtio-mem device; it is told, and what it does about it takes its time. Emits `memoryDeviceSizeChange`.
    func resizeMemoryDevice(_ id: String, to size: UInt64) throws(MachineControlError)
    func memoryDevices() -> [MemoryDeviceInfo]

    func iothreads() -> [IOThreadInfo]
    func chardevs() -> [ChardevInfo]
    func blockNodes() -> [BlockNodeInfo]
    /// The devices that have an id, slots that are empty left out.
    func devices() -> [DeviceInfo]
    /// Those of the command line, in its order.
    func memoryBackends() -> [VmConfig.MemoryBackend]
    /// Bytes.
    func memorySize() -> MemorySize
    /// The guest's physical address space, by address.
    func memoryMap() -> [MemoryMapEntry]
    /// What there are statistics of.
    func statisticsSources(_ target: StatisticsTarget) -> [StatisticsSource]
    /// What is counted for one of them now; empty when it is gone.
    func statistics(of source: StatisticsSource) -> [Statistic]
    /// What runs the vCPUs.
    func acceleration() -> Acceleration
    /// Of the interrupt controller of an aarch64 machine; nil for any other.
    func gicVersion() -> VmConfig.GICVersion?
}

extension MachineControl {
    public func acceleration() -> Acceleration { Acceleration(isPresent: true, isEnabled: true) }
    public func gicVersion() -> VmConfig.GICVersion? { nil }
    public func statisticsSources(_ target: StatisticsTarget) -> [StatisticsSource] { [] }
    public func statistics(of source: StatisticsSource) -> [Statistic] { [] }
}

/// Takes the events of a machine. Any thread.
public protocol MachineEventSink: AnyObject, Sendable {
    func emit(_ event: MachineEvent)
}

/// Something that happened to a machine and that management clients are told.
public enum MachineEvent: Equatable, Sendable {
    case stop
    case resume
    case powerdown
    /// `guest` tells whether the guest asked for it.
    case reset(guest: Bool)
    case shutdown(ShutdownReason)
    /// A device that a management client removed is gone. `path` is its place in QEMU's object tree: see `DeviceInfo.path(id:)`.
    case deviceDeleted(id: String, path: String)
    /// The peer of a stream has been found, or has gone.
    case streamConnected(id: String, VmConfig.Netdev.Stream.Address)
    case streamDisconnected(id: String)
    /// The guest has given back memory, or taken it: bytes of RAM that it has now outside of the balloon. At most one a second.
    case balloonChanged(actual: UInt64)
    /// The guest has taken memory of a virtio-mem device, or given it back; `size` is what it has now, in bytes. At most one a second and device: the last.
    case memoryDeviceSizeChange(id: String, size: UInt64)
}

/// Why a machine ends.
public enum ShutdownReason: Equatable, Sendable {
    case quitCommand
    /// The reset button of a machine that ends at a reset.
    case resetCommand
    case guestShutdown
    /// The guest reset a machine that ends at a reset.
    case guestReset
    /// The process got this signal.
    case signal(Int32)
    /// The VMM could not go on; the text says why.
    case failure(String)

    /// The guest asked for it.
    public var isGuest: Bool { self == .guestShutdown || self == .guestReset }
}

/// Why a command could not be carried out: one sentence for the user.
public enum MachineControlError: Error, Equatable, Sendable, CustomStringConvertible {
    case wrongState(VMTransitionError)
    case failed(String)
    /// There is no device, drive or back end with this id.
    case deviceNotFound(String)
    /// The device or back end with this id exists, and nothing makes it work now: an empty slot, a back end without a device.
    case deviceNotActive(String)
    /// The host's KVM lacks what the command needs; the text names both.
    case missingCapability(String)

    public var description: String {
        switch self {
        case .wrongState(let error): error.description
        case .failed(let sentence), .missingCapability(let sentence): sentence
        case .deviceNotFound(let id): "there is nothing with the id \(quoted(id))"
        case .deviceNotActive(let id): "\(quoted(id)) is not in use"
        }
    }
}

/// The place of a vCPU in the topology; each number counts within the unit above it, as in QEMU's CpuInstanceProperties.
public struct CPUPlace: Equatable, Sendable {
    public var socket: UInt32
    public var die: UInt32
    public var core: UInt32
    public var thread: UInt32
    /// The number of the NUMA node, which is none of the units; nil without nodes.
    public var node: UInt32?

    public init(socket: UInt32, die: UInt32, core: UInt32, thread: UInt32, node: UInt32? = nil) {
        self.node = node
        self.socket = socket
        self.die = die
        self.core = core
        self.thread = thread
    }
}

/// A vCPU that exists.
public struct CPUInfo: Equatable, Sendable {
    public var id: UInt32
    /// Kernel thread id of the thread that runs it.
    public var threadID: Int32
    public var place: CPUPlace

    public init(id: UInt32, threadID: Int32, place: CPUPlace) {
        self.id = id
        self.threadID = threadID
        self.place = place
    }

    /// Where a vCPU stands in QEMU's object tree.
    public static func path(id: UInt32) -> String { "/machine/unattached/device[\(id)]" }
}

/// A place that a vCPU fills or could fill.
public struct CPUSlot: Equatable, Sendable {
    public var place: CPUPlace
    /// The id of the vCPU in it; nil when it is empty.
    public var cpu: UInt32?

    public init(place: CPUPlace, cpu: UInt32?) {
        self.place = place
        self.cpu = cpu
    }
}

/// How much memory the guest has, in bytes.
public struct MemorySize: Equatable, Sendable {
    /// There from the start.
    public var base: UInt64
    /// Added to it.
    public var plugged: UInt64

    public init(base: UInt64, plugged: UInt64 = 0) {
        self.base = base
        self.plugged = plugged
    }
}
