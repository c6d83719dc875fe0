public import AddressSpace
public import Hypervisor
public import LinuxSys
internal import Synchronization

/// A virtio device behind memory-mapped registers (virtio 1.2, section 4.2).
///
/// Registers are touched on vCPU threads, queues are served on the event loop's thread. One lock a device orders the two; interrupt status,
/// acknowledgement and notification do without it, so the guest's interrupt handler never waits for a queue being served.
public final class VirtioMMIODevice: RegionOps, EventPoller {
    struct QueueRegisters {
        var configuration = QueueConfiguration()
        var isReady = false
        /// From activation to reset.
        var queue: SplitQueue?
        /// Of the sessions before this one.
        var past = QueueStatistics()

        var statistics: QueueStatistics { queue.map { past + $0.counters.statistics } ?? past }
    }

    struct State: ~Copyable {
        let device: any VirtioDevice
        /// Frozen while a driver negotiates or runs.
        var offeredFeatures: UInt64
        /// vCPUs that wait for requests in flight to end, without the lock, to complete a reset or to stop a queue.
        var settling = 0
        var status: DeviceStatus = []
        var deviceFeaturesSelect: UInt32 = 0
        var driverFeaturesSelect: UInt32 = 0
        var driverFeatures: UInt64 = 0
        var queueSelect: UInt32 = 0
        var queues: [QueueRegisters]
        var configGeneration: UInt32 = 0
        var resetsRequested: UInt64 = 0
        var resets: UInt64 = 0
        var activations: UInt64 = 0
    }

    public let name: String
    let deviceType: UInt32
    let queueSizes: [UInt16]
    let isPollable: Bool
    let memory: GuestMemory
    let interrupt: VirtioInterrupt
    /// One for each queue; signalled by the guest through KVM, or by `write`.
    let notifications: [EventFD]
    let state: Mutex<State>
    let watching: Mutex<Watching>
    let ignoredAccesses = Atomic<UInt64>(0)

    /// Takes the device over. `line` is the interrupt, edge triggered.
    public init(name: String, device: sending any VirtioDevice, memory: GuestMemory, line: any InterruptLine) throws(Errno) {
        self.name = name
        self.memory = memory
        deviceType = device.deviceType
        queueSizes = device.queueSizes
        isPollable = device.isPollable
        interrupt = VirtioInterrupt(line: line, device: name)
        var events: [EventFD] = []
        for _ in device.queueSizes { events.append(try EventFD()) }
        notifications = events
        let queues = [QueueRegisters](repeating: QueueRegisters(), count: events.count)
        let none = [Bool](repeating: false, count: events.count)
        watching = Mutex(Watching(elsewhere: none, foreign: none, sources: device.eventSources))
        let features = device.features
        state = Mutex(State(device: device, offeredFeatures: features, queues: queues))
    }

    /// Any thread.
    public var statistics: DeviceStatistics {
        state.withLock { state in
            var statistics = DeviceStatistics()
            statistics.ignoredAccesses = ignoredAccesses.load(ordering: .relaxed)
            statistics.droppedRequests = state.device.droppedRequests
            statistics.resetsRequested = state.resetsRequested
            statistics.resets = state.resets
            statistics.activations = state.activations
            statistics.interrupts = interrupt.raised
            statistics.queues = state.queues.map(\.statistics)
            statistics.counters = state.device.counters
            return statistics
        }
    }

    /// The device status field. Any thread.
    public var status: DeviceStatus { state.withLock { $0.status } }

    /// Back to the state after power-on; waits for what is in flight. Any thread.
    public func reset() { resetAndWait() }

    /// Changes the device: `body` runs under its lock, which it must not take again, and must not keep the device. Event sources are watched anew afterwards, and
    /// features are offered anew unless a driver has begun to negotiate. Nil, and nothing done, when the device is not a `D`. Any thread.
    ///
    /// The configuration generation moves in any case, so that a driver never reads half of a changed configuration (virtio 1.2, section 2.5.2); whoever
    /// changed something that the driver should look at calls `configurationChanged` afterwards.
    @discardableResult
    public func update<D: VirtioDevice, R, E: Error>(_ type: D.Type, _ body: (D) throws(E) -> sending R) throws(E) -> R? {
        // SAFETY: only called here, before this function returns. What it captures is the caller's, and the caller waits.
        nonisolated(unsafe) let body = body
        return try state.withLock { state throws(E) -> R? in
            guard let device = state.device as? D else { return nil }
            unwatchSources()
            defer { finishUpdate(&state) }
            return try unsafe body(device)
        }
    }

    /// What `body` says of the device, which it must neither change nor keep; under its lock. Nil when the device is not a `D`. Any thread.
    public func inspect<D: VirtioDevice, R: Sendable>(_ type: D.Type, _ body: (D) -> R) -> R? {
        // SAFETY: as in `update`.
        nonisolated(unsafe) let body = body
        return state.withLock { state -> R? in
            guard let device = state.device as? D else { return nil }
            return unsafe body(device)
        }
    }

    private func finishUpdate(_ state: inout State) {
        watchSources(state.device.eventSources)
        state.configGeneration &+= 1
        if !state.status.contains(.driver) { state.offeredFeatures = state.device.features }
        failIfUnwatched(&state)
        // What waited for the change goes on.
        if state.status.isLive { notifyAll() }
    }

    /// Serves what the driver has queued until nothing is left and nothing is in flight. Any thread; for a machine whose vCPUs are paused, and
    /// whose image must not change afterwards: a notification that the event loop has not seen yet then finds an empty queue.
    public func drain() {
        let isAgain = state.withLock { state in
            // Each round ends at least one request, and there are at most as many as the queues hold, unless a guest's reads write its own rings.
            for _ in 0...queueSizes.reduce(0, { $0 + Int($1) }) {
                var isAgain = false
                if state.status.isLive {
                    for index in notifications.indices where !isElsewhere(index) && apply(state.device.queueNotified(index), &state) { isAgain = true }
                }
                if apply(state.device.drain(), &state) { isAgain = true }
                if !isAgain { return false }
            }
            return true
        }
        if isAgain { notifyAll() }
    }

    /// The device's configuration space has changed: tells the driver (virtio 1.2, section 2.5).
    public func configurationChanged() { state.withLock { announceConfiguration(&$0) } }

    func announceConfiguration(_ state: inout State) {
        state.configGeneration &+= 1
        Trace.emit(.virtioConfigure, name, UInt64(state.configGeneration))
        if state.status.isLive { interrupt.raise(VirtioInterrupt.configurationChange) }
    }

    func ignore() { ignoredAccesses.wrappingAdd(1, ordering: .relaxed) }
}
