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
