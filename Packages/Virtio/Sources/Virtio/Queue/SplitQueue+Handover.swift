internal import LinuxSys

/// For a queue that changes hands between this process and a back end such as vhost, which keeps the indices itself meanwhile.
extension SplitQueue {
    /// Index of the next available entry.
    var position: UInt16 { nextAvailable }

    /// Puts back the `count` chains that were popped last, none of which was pushed. `bytes` are those that the device may read of them.
    func undoPops(_ count: Int, bytes: UInt64 = 0) {
        nextAvailable &-= UInt16(truncatingIfNeeded: count)
        counters.bytesFromGuest.subtract(bytes)
    }

    /// Takes the next chain's head alone, for whoever passes it on and does not look at its descriptors; nil when there is none. After a fault the queue
    /// is disabled.
    func popHead() throws(QueueFault) -> UInt16? {
        guard isEnabled else { return nil }
        if nextAvailable == knownAvailable, try !refreshAvailable() { return nil }
        let head = available.load16(4 &+ 2 &* Int(nextAvailable & (size &- 1)))
        guard head < size else {
            isEnabled = false
            throw .headOutOfRange(head)
        }
        nextAvailable &+= 1
        return head
    }

    /// What the driver sees as the used index: where a back end stopped that died without a word.
    var usedIndexInMemory: UInt16 { used.loadAcquire16(2) }

    /// Goes on at `index`, where the back end stopped: it has given back all that it took.
    func resume(at index: UInt16) {
        nextAvailable = index
        knownAvailable = index
        nextUsed = index
        publishedUsed = index
        // What the driver was told last is not known here.
        hasNotified = false
    }
}
