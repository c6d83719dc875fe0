internal import LinuxSys

extension VirtioMMIODevice {
    func writeStatus(_ state: inout State, _ value: UInt32) {
        switch state.status.request(writing: value) {
        case .reset:
            reset(&state)
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
            guard accepted & ~features == 0, accepted & VirtioFeature.version1 != 0 else {
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
        var queues: [SplitQueue?] = []
        for index in state.queues.indices {
            guard state.queues[index].isReady else {
                queues.append(nil)
                continue
            }
            do {
                let queue = try SplitQueue(
                    state.queues[index].configuration, maximumSize: queueSizes[index], features: state.driverFeatures, memory: memory)
                state.queues[index].queue = queue
                queues.append(queue)
            } catch {
                return requestReset(&state, error)
            }
        }
        state.device.activate(queues: queues, features: state.driverFeatures, memory: memory, interrupt: interrupt)
        // A driver may have notified before DRIVER_OK, when nobody was listening.
        for event in notifications { event.signal() }
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
        state.device.drain()
        for index in state.queues.indices { state.queues[index].queue?.disable() }
    }

    func reset(_ state: inout State) {
        state.device.reset()
        state.status = []
        state.deviceFeaturesSelect = 0
        state.driverFeaturesSelect = 0
        state.driverFeatures = 0
        state.queueSelect = 0
        for index in state.queues.indices { state.queues[index] = QueueRegisters() }
        interrupt.clear()
    }
}
