public import AddressSpace
public import Hypervisor
public import LinuxSys
internal import Synchronization

/// A virtio device behind memory-mapped registers (virtio 1.2, section 4.2).
///
/// Registers are touched on vCPU threads, queues are served on the event loop's thread. One lock a device orders the two; interrupt status,
/// acknowledgement and notification do without it, so the guest's interrupt handler never waits for a queue being served.
public final class VirtioMMIODevice: RegionOps {
    struct QueueRegisters {
        var configuration = QueueConfiguration()
        var isReady = false
        /// From activation to reset.
        var queue: SplitQueue?
    }

    struct State: ~Copyable {
        let device: any VirtioDevice
        var status: DeviceStatus = []
        var deviceFeaturesSelect: UInt32 = 0
        var driverFeaturesSelect: UInt32 = 0
        var driverFeatures: UInt64 = 0
        var queueSelect: UInt32 = 0
        var queues: [QueueRegisters]
        var configGeneration: UInt32 = 0
        var resetsRequested: UInt64 = 0
    }

    /// What a device did not do for its guest. The counters wrap.
    public struct Statistics: Equatable, Sendable {
        /// Register accesses of a wrong size, at a wrong time, or to nothing.
        public var ignoredAccesses: UInt64
        /// Requests that made no sense.
        public var droppedRequests: UInt64
        /// How often DEVICE_NEEDS_RESET was set.
        public var resetsRequested: UInt64
    }

    public let name: String
    let deviceType: UInt32
    let features: UInt64
    let queueSizes: [UInt16]
    let memory: GuestMemory
    let interrupt: VirtioInterrupt
    /// One for each queue; signalled by the guest through KVM, or by `write`.
    let notifications: [EventFD]
    let eventSources: [Int32]
    let state: Mutex<State>
    let ignoredAccesses = Atomic<UInt64>(0)
    let placement = Mutex<Placement?>(nil)

    /// Takes the device over. `line` is the interrupt, edge triggered.
    public init(name: String, device: sending any VirtioDevice, memory: GuestMemory, line: any InterruptLine) throws(Errno) {
        self.name = name
        self.memory = memory
        deviceType = device.deviceType
        features = device.features
        queueSizes = device.queueSizes
        eventSources = device.eventSources
        interrupt = VirtioInterrupt(line: line)
        var events: [EventFD] = []
        for _ in device.queueSizes { events.append(try EventFD()) }
        notifications = events
        let queues = [QueueRegisters](repeating: QueueRegisters(), count: events.count)
        state = Mutex(State(device: device, queues: queues))
    }

    /// Any thread.
    public var statistics: Statistics {
        state.withLock { state in
            Statistics(
                ignoredAccesses: ignoredAccesses.load(ordering: .relaxed), droppedRequests: state.device.droppedRequests,
                resetsRequested: state.resetsRequested)
        }
    }

    /// The device status field. Any thread.
    public var status: DeviceStatus { state.withLock { $0.status } }

    /// Back to the state after power-on; waits for what is in flight. Any thread.
    public func reset() { state.withLock { reset(&$0) } }

    /// Serves what the driver has queued until nothing is left and nothing is in flight. Any thread; for a machine whose vCPUs are paused, and
    /// whose image must not change afterwards: a notification that the event loop has not seen yet then finds an empty queue.
    public func drain() {
        let isAgain = state.withLock { state in
            // Each round ends at least one request, and there are at most as many as the queues hold, unless a guest's reads write its own rings.
            for _ in 0...queueSizes.reduce(0, { $0 + Int($1) }) {
                var isAgain = false
                if state.status.isLive {
                    for index in notifications.indices where apply(state.device.queueNotified(index), &state) { isAgain = true }
                }
                if apply(state.device.drain(), &state) { isAgain = true }
                if !isAgain { return false }
            }
            return true
        }
        if isAgain { for event in notifications { event.signal() } }
    }

    /// The device's configuration space has changed: tells the driver (virtio 1.2, section 2.5).
    public func configurationChanged() {
        state.withLock { state in
            state.configGeneration &+= 1
            if state.status.isLive { interrupt.raise(VirtioInterrupt.configurationChange) }
        }
    }

    func ignore() { ignoredAccesses.wrappingAdd(1, ordering: .relaxed) }
}
