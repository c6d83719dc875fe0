internal import LinuxSys
internal import Synchronization

/// What the event loop watches for a device. Its lock is taken after the device's, never before.
struct Watching: Sendable {
    /// Nil unless attached.
    var placement: VirtioMMIODevice.Placement?
    /// Queues whose notifications somebody else watches for this session.
    var elsewhere: [Bool]
    /// Queues whose notifications another process holds, once and for all: that it said it let go proves nothing.
    var foreign: [Bool]
    /// The device's event sources, whether or not there is a loop.
    var sources: [Int32] = []
    /// The number of resets so far: a session is over when it has moved.
    var session: UInt64 = 0
    /// What the running session asked for from another thread, not yet done.
    var requestedReset: QueueFault?
    /// Why the host has refused to watch a notification, or a source. A device that nobody wakes must not go live.
    var notificationFailure: Errno?
    var sourceFailure: Errno?
}

extension VirtioMMIODevice {
    // MARK: Notifications

    func isElsewhere(_ index: Int) -> Bool { watching.withLock { $0.elsewhere[index] } }

    func serveElsewhere(_ index: Int, session: UInt64) {
        guard index >= 0, index < notifications.count else { return }
        watching.withLock { watching in
            guard watching.session == session, !watching.elsewhere[index] else { return }
            watching.elsewhere[index] = true
            watching.placement?.loop.remove(notifications[index].raw)
        }
    }

    func handOver(_ index: Int, session: UInt64) {
        serveElsewhere(index, session: session)
        watching.withLock { watching in
            if watching.foreign.indices.contains(index) { watching.foreign[index] = true }
        }
    }

    /// As if the driver had notified every queue. Not those whose eventfd another process holds: it may have filled it and made it blocking, and whoever adds
    /// to it would wait for ever.
    func notifyAll() {
        let foreign = watching.withLock { $0.foreign }
        for (event, isForeign) in zip(notifications, foreign) where !isForeign { event.signal() }
    }

    /// The device was reset: what it watched itself is the transport's again.
    func endSession() {
        watching.withLock { watching in
            watching.session &+= 1
            watching.requestedReset = nil
            for index in notifications.indices where watching.elsewhere[index] {
                watching.elsewhere[index] = false
                do throws(Errno) { try watchNotification(index, watching) } catch { watching.notificationFailure = error }
            }
        }
    }

    private func watchNotification(_ index: Int, _ watching: Watching) throws(Errno) {
        try watching.placement?.loop.add(notifications[index].raw, .readable) { [self] _ in serveQueue(index) }
    }

    // MARK: Event sources

    /// Before the device may close one: its number may be somebody else's right after.
    func unwatchSources() {
        watching.withLock { watching in
            if let loop = watching.placement?.loop { for source in watching.sources { loop.remove(source) } }
            watching.sources = []
        }
    }

    func watchSources(_ sources: [Int32]) {
        watching.withLock { watching in
            watching.sources = sources
            watching.sourceFailure = nil
            do throws(Errno) { try watchSources(watching) } catch { watching.sourceFailure = error }
        }
    }

    private func watchSources(_ watching: Watching) throws(Errno) {
        guard let loop = watching.placement?.loop else { return }
        for source in watching.sources {
            try loop.add(source, .readable) { [self] _ in serveEventSource(source) }
        }
    }

    // MARK: All of it

    func watch(_ placement: Placement) throws(Errno) {
        do throws(Errno) {
            try watching.withLock { watching throws(Errno) in
                watching.placement = placement
                for index in notifications.indices { try watchNotification(index, watching) }
                try watchSources(watching)
                if isPolled(in: placement) { placement.loop.add(self) }
            }
        } catch {
            unwatch()
            throw error
        }
    }

    /// Whether the loop looks at the queues.
    func isPolled(in placement: Placement?) -> Bool { isPollable && (placement?.loop.longestLook ?? 0) > 0 }

    func unwatch() {
        watching.withLock { watching in
            guard let loop = watching.placement?.loop else { return }
            loop.remove(self)
            for event in notifications { loop.remove(event.raw) }
            for source in watching.sources { loop.remove(source) }
            watching.placement = nil
        }
    }

    // MARK: What a session asks for

    /// Any thread. Posted, because whoever asks may hold locks that come after the device's.
    func postReset(_ fault: QueueFault, session: UInt64) {
        let loop: EventLoop? = watching.withLock { watching in
            guard watching.session == session, watching.requestedReset == nil else { return nil }
            watching.requestedReset = fault
            return watching.placement?.loop
        }
        loop?.post { [weak self] in self?.serveResetRequest() }
    }

    /// Any thread.
    func postConfigurationChange(session: UInt64) {
        let loop = watching.withLock { $0.session == session ? $0.placement?.loop : nil }
        loop?.post { [weak self] in self?.configurationChanged() }
    }

    /// On the event loop's thread.
    func serveResetRequest() {
        state.withLock { state in
            // Stays where it is: one request a session is enough.
            if let fault = watching.withLock({ $0.requestedReset }), state.status.contains(.driverOK) { requestReset(&state, fault) }
        }
    }
}
