internal import Synchronization

extension SplitQueue {
    /// Flag in the used ring: the driver need not notify (virtio 1.2, section 2.7.10).
    private static var noNotify: UInt16 { 1 }

    /// Asks the driver not to notify while the queue is being served. With the event index nothing is written: an `avail_event` that
    /// lies behind does the same.
    public func disableNotifications() {
        isAwaited = false
        guard isEnabled, !usesEventIndex else { return }
        used.storeRelease16(Self.noNotify, 0)
    }

    /// Asks for notifications again, unless the queue is polled; true when buffers came meanwhile, which the driver may not have notified about: serve the
    /// queue once more instead of waiting (else the queue freezes, as in CVE-2020-16843).
    public func enableNotifications() throws(QueueFault) -> Bool {
        guard isEnabled else { return false }
        isAwaited = true
        if !isPolled { askForNotifications() }
        return try refreshAvailable()
    }

    private func askForNotifications() {
        if usesEventIndex {
            used.storeRelease16(nextAvailable, 4 &+ 8 &* Int(size))
        } else {
            used.storeRelease16(0, 0)
        }
        // The wish must be visible before the index is read: the driver moves the index, then looks at the wish.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    // MARK: Polling

    /// Whether buffers have come that are waited for. A queue that waits for something else (room, its turn) has none.
    var hasNews: Bool { isEnabled && isAwaited && available.loadAcquire16(2) != nextAvailable }

    /// Nobody looks any more, so the driver has to notify; true when something came before that.
    func arm() -> Bool {
        guard isEnabled, isAwaited else { return false }
        askForNotifications()
        return hasNews
    }

    /// Whether the driver has looked at all that it was shown, as far as its wish for interrupts tells (virtio 1.2, section 2.7.7): it asks for one at the next chain. Without
    /// the event index it asks for every one, also before it has looked; `isAcknowledged` says that it has been there since the last one.
    func driverHasLooked(isAcknowledged: Bool) -> Bool {
        usesEventIndex ? available.load16(4 &+ 2 &* Int(size)) == publishedUsed : available.load16(0) & 1 == 0 && isAcknowledged
    }
}
