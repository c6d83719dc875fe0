internal import LinuxSys
internal import Synchronization

extension VirtioMMIODevice {
    /// The queues that have to be stopped, if the driver gives up.
    func writeStatus(_ state: inout State, _ value: UInt32) -> Range<Int> {
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
                return state.queues.indices
            }
        }
        return 0..<0
    }

    /// False when the device refuses the step: the driver reads the status back to find out.
    private func take(_ step: DeviceStatus, _ state: inout State) -> Bool {
        if step == .featuresOK {
            let accepted = state.driverFeatures
            Trace.emit(.virtioFeatures, name, state.offeredFeatures, accepted)
            guard accepted & ~state.offeredFeatures == 0, accepted & VirtioFeature.version1 != 0 else {
                ignore()
                return false
            }
        }
        Trace.emit(.virtioStatus, name, UInt64(state.status.rawValue), UInt64(state.status.union(step).rawValue))
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
                let configuration = state.queues[index].configuration
                Trace.emit(.virtioQueue, name, UInt64(index), UInt64(configuration.size), configuration.descriptorTable)
                queues.append(queue)
                configurations.append(configuration)
            } catch {
                return requestReset(&state, error)
            }
        }
        state.activations &+= 1
        let control = SessionControl(self, session: watching.withLock { $0.session })
        state.device.activate(
            VirtioSession(
                queues: queues, configurations: configurations, features: state.driverFeatures, memory: memory, interrupt: interrupt,
                notifications: notifications, control: control))
        let looks = watching.withLock { isPolled(in: $0.placement) }
        for queue in queues { queue?.isPolled = looks }
        // A driver may have notified before DRIVER_OK, when nobody was listening.
        notifyAll()
    }

    /// Sets DEVICE_NEEDS_RESET and tells the driver (virtio 1.2, section 2.1.2). Requests in flight end; no new ones are taken.
    func requestReset(_ state: inout State, _ fault: QueueFault) {
        guard !state.status.contains(.needsReset) else { return }
        state.status.insert(.needsReset)
        Trace.emit(.virtioNeedsReset, "\(name): \(fault)")
        // Only the first: a guest that breaks its rings in a loop must not fill the log.
        if state.resetsRequested == 0 { Log.warn("\(name): \(fault); the device needs a reset") }
        state.resetsRequested &+= 1
        interrupt.raise(VirtioInterrupt.configurationChange)
    }

    /// Sets DEVICE_NEEDS_RESET when the host does not let the event loop watch the device.
    @discardableResult
    func failIfUnwatched(_ state: inout State) -> Bool {
        guard let failure = watching.withLock({ $0.notificationFailure ?? $0.sourceFailure }) else { return false }
        if state.status.contains(.driverOK) { requestReset(&state, .hostFailure(failure)) }
        return true
    }

    // MARK: Waiting for requests in flight

    // Without the lock: a slow disk holds up the vCPU that resets its device or takes a queue back, which must not reuse its memory before, but not the event
    // loop and with it everything else.

    /// Completes a reset once nothing is in flight.
    func resetAndWait() {
        settle({ state in state.device.prepareReset() }, { reset(&$0) })
    }

    /// The driver takes queues back: nothing touches their rings afterwards. Only a reset makes them usable again.
    func stopAndWait(_ queues: Range<Int>) {
        let session = watching.withLock { $0.session }
        // Another vCPU's reset has done it.
        func isOver() -> Bool { watching.withLock { $0.session } != session }
        settle { state in
            if isOver() { return true }
            // All of them are asked, whatever the first says.
            return queues.reduce(true) { isDone, index in
                (state.queues[index].queue == nil || state.device.prepareStop(index)) && isDone
            }
        } _: { state in
            if isOver() { return }
            for index in queues { stopQueue(index, &state) }
        }
        // The others were not served meanwhile.
        notifyAll()
    }

    private func settle(_ isDone: (inout State) -> Bool, _ finish: (inout State) -> Void) {
        var hasBegun = false
        while true {
            let ends = state.withLock { state in
                if !hasBegun { state.settling += 1 }
                guard isDone(&state) else { return false }
                finish(&state)
                state.settling -= 1
                return true
            }
            if ends { return }
            hasBegun = true
            // The loop's thread, or the next round, finds what has ended.
            Clock.sleep(nanoseconds: Self.settleInterval)
        }
    }

    private static var settleInterval: UInt64 { 1_000_000 }

    private func stopQueue(_ index: Int, _ state: inout State) {
        if let queue = state.queues[index].queue {
            state.device.stopQueue(index)
            // One that is served elsewhere is under a lock of the device, which has just stopped it.
            if !isElsewhere(index) { queue.disable() }
        }
        state.queues[index].isReady = false
    }

    private func reset(_ state: inout State) {
        Trace.emit(.virtioReset, name)
        state.device.reset()
        endSession()
        state.status = []
        state.offeredFeatures = state.device.features
        state.deviceFeaturesSelect = 0
        state.driverFeaturesSelect = 0
        state.driverFeatures = 0
        state.queueSelect = 0
        for index in state.queues.indices { state.queues[index] = QueueRegisters(past: state.queues[index].statistics) }
        state.resets &+= 1
        interrupt.clear()
    }
}
