/// What management interfaces ask of a machine. Every call comes on the event loop's thread and returns soon; what takes long (a guest that shuts down,
/// the process's end) is only requested, and told by an event when it happens.
public protocol MachineControl: AnyObject, Sendable {
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

    public var description: String {
        switch self {
        case .wrongState(let error): error.description
        case .failed(let sentence): sentence
        }
    }
}

/// The place of a vCPU in the topology; each number counts within the unit above it, as in QEMU's CpuInstanceProperties.
public struct CPUPlace: Equatable, Sendable {
    public var socket: UInt32
    public var die: UInt32
    public var core: UInt32
    public var thread: UInt32

    public init(socket: UInt32, die: UInt32, core: UInt32, thread: UInt32) {
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
