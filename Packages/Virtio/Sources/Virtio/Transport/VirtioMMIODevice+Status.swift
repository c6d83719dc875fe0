internal import LinuxSys
internal import Synchronization

extension VirtioMMIODevice {
    func writeStatus(_ state: inout State, _ value: UInt32) {
        switch state.status.request(writing: value) {
        case .reset:
            // `write` has taken it to `resetAndWait`.
            break
        case .refused:
            ignore()
        case .advance(let steps, let fails):
            for step in steps {
                guard take(step, &state) else { break }
            }
            if fails {
                state.status.insert(.failed)
                stopQueues(&state)
            }
        }
    }

    /// False when the device refuses the step: the driver reads the status back to find out.
    private func take(_ step: DeviceStatus, _ state: inout State) -> Bool {
        if step == .featuresOK {
            let accepted = state.driverFeatures
            guard accepted & ~state.offeredFeatures == 0, accepted & VirtioFeature.version1 != 0 else {
                ignore()
                return false
            }
        }
        state.status.insert(step)
        if step == .driverOK { activate(&state) }
        return true
    }

    /// The queues are checked and copied here, once; from now on the registers only describe them.
    private func activate(_ state: inout State) {
        if failIfUnwatched(&state) { return }
        var queues: [SplitQueue?] = []
        var configurations: [QueueConfiguration?] = []
        for index in state.queues.indices {
            guard state.queues[index].isReady else {
                queues.append(nil)
                configurations.append(nil)
                continue
            }
            do {
                let queue = try SplitQueue(
                    state.queues[index].configuration, maximumSize: queueSizes[index], features: state.driverFeatures, memory: memory)
                state.queues[index].queue = queue
                queues.append(queue)
                configurations.append(state.queues[index].configuration)
            } catch {
                return requestReset(&state, error)
            }
        }
        let control = SessionControl(self, session: watching.withLock { $0.session })
        state.device.activate(
            VirtioSession(
                queues: queues, configurations: configurations, features: state.driverFeatures, memory: memory, interrupt: interrupt,
                notifications: notifications, control: control))
        // A driver may have notified before DRIVER_OK, when nobody was listening.
        notifyAll()
    }

    /// Sets DEVICE_NEEDS_RESET and tells the driver (virtio 1.2, section 2.1.2). Requests in flight end; no new ones are taken.
    func requestReset(_ state: inout State, _ fault: QueueFault) {
        guard !state.status.contains(.needsReset) else { return }
        state.status.insert(.needsReset)
        // Only the first: a guest that breaks its rings in a loop must not fill the log.
        if state.resetsRequested == 0 { Log.warn("\(name): \(fault); the device needs a reset") }
        state.resetsRequested &+= 1
        interrupt.raise(VirtioInterrupt.configurationChange)
    }

    private func stopQueues(_ state: inout State) {
        for index in state.queues.indices { stopQueue(index, &state) }
    }

    func stopQueue(_ index: Int, _ state: inout State) {
        guard let queue = state.queues[index].queue else { return }
        state.device.stopQueue(index)
        // One that is served elsewhere is under a lock of the device, which has just stopped it.
        if !isElsewhere(index) { queue.disable() }
    }

    /// Sets DEVICE_NEEDS_RESET when the host does not let the event loop watch the device.
    @discardableResult
    func failIfUnwatched(_ state: inout State) -> Bool {
        guard let failure = watching.withLock({ $0.notificationFailure ?? $0.sourceFailure }) else { return false }
        if state.status.contains(.driverOK) { requestReset(&state, .hostFailure(failure)) }
        return true
    }

    /// Completes a reset once nothing is in flight. The wait is without the lock: a slow disk holds up the vCPU that resets its device, which must not reuse
    /// its memory before, but not the event loop and with it everything else.
    func resetAndWait() {
        while true {
            let isDone = state.withLock { state in
                state.isResetting = true
                guard state.device.prepareReset() else { return false }
                reset(&state)
                state.isResetting = false
                return true
            }
            if isDone { return }
            // The loop's thread, or the next round, finds what has ended.
            Clock.sleep(nanoseconds: Self.resetPollInterval)
        }
    }

    private static var resetPollInterval: UInt64 { 1_000_000 }

    private func reset(_ state: inout State) {
        state.device.reset()
        endSession()
        state.status = []
        state.offeredFeatures = state.device.features
        state.deviceFeaturesSelect = 0
        state.driverFeaturesSelect = 0
        state.driverFeatures = 0
        state.queueSelect = 0
        for index in state.queues.indices { state.queues[index] = QueueRegisters() }
        interrupt.clear()
    }
}
