internal import LinuxSys
internal import Synchronization

extension VirtioMMIODevice {
    /// The guest has notified queue `index`; on the event loop's thread.
    func serveQueue(_ index: Int) {
        guard index >= 0, index < notifications.count else { return }
        let event = notifications[index]
        let isAgain = state.withLock { state in
            // The loop was on its way here when the device took the queue elsewhere: the notification is left to whoever watches it now.
            if isElsewhere(index) { return false }
            let count = event.drain()
            state.queues[index].queue?.counters.notifications.add(count)
            Trace.emit(.virtioNotify, name, UInt64(index), count)
            guard state.status.isLive, state.settling == 0 else { return false }
            return apply(state.device.queueNotified(index), &state)
        }
        // Behind whatever else is ready: the loop comes back to it.
        if isAgain { event.signal() }
    }

    /// A descriptor of the device is readable; on the event loop's thread. Also when the device is not live, so that the descriptor
    /// does not stay readable.
    func serveEventSource(_ descriptor: Int32) {
        let isAgain = state.withLock { state in apply(state.device.eventSourceReady(descriptor), &state) }
        if isAgain { notifyAll() }
    }

    /// The loop's thread looks at the queues in guest memory, and at what the device can see of its sources.
    public func poll() -> Bool {
        // A vCPU that writes a register is not held up by somebody who only looks.
        let found: (isAny: Bool, isAgain: Bool)? = state.withLockIfAvailable { state in
            var isAny = false, isAgain = false
            guard state.status.isLive, state.settling == 0 else { return (false, false) }
            if state.device.hasEvents {
                isAny = true
                if apply(state.device.eventSourceReady(-1), &state) { isAgain = true }
            }
            for index in state.queues.indices {
                guard let queue = state.queues[index].queue, queue.isPolled, queue.hasNews else { continue }
                isAny = true
                if apply(state.device.queueNotified(index), &state) { isAgain = true }
            }
            return (isAny, isAgain)
        }
        if found?.isAgain ?? false { notifyAll() }
        return found?.isAny ?? false
    }

    public func arm() -> Bool {
        state.withLock { state in
            var isAny = false
            for registers in state.queues {
                if let queue = registers.queue, queue.isPolled, queue.arm() { isAny = true }
            }
            return state.status.isLive && state.settling == 0 && (isAny || state.device.hasEvents)
        }
    }

    /// True when the device wants to go on later.
    func apply(_ result: ServiceResult, _ state: inout State) -> Bool {
        switch result {
        case .idle, .fault(.dropped): return false
        case .again: return true
        case .configurationChanged:
            announceConfiguration(&state)
            return false
        case .fault(.needsReset(let fault)):
            requestReset(&state, fault)
            return false
        }
    }
}
