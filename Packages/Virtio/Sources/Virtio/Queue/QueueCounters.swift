internal import LinuxSys

/// What a queue has done in its session. Added to by whoever serves the queue, read by any thread.
struct QueueCounters: ~Copyable, Sendable {
    let requests = Counter()
    let bytesFromGuest = Counter()
    let bytesToGuest = Counter()
    let notifications = Counter()
    let interrupts = Counter()
    let stalls = Counter()

    var statistics: QueueStatistics {
        var statistics = QueueStatistics()
        statistics.requests = requests.value
        statistics.bytesFromGuest = bytesFromGuest.value
        statistics.bytesToGuest = bytesToGuest.value
        statistics.notifications = notifications.value
        statistics.interrupts = interrupts.value
        statistics.stalls = stalls.value
        return statistics
    }
}
