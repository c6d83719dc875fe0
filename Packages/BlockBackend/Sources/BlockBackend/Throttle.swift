internal import LinuxSys

/// Holds a disk's requests to its limits: counts them, and keeps those that have to wait, reads and writes each in order. Owner thread only.
struct Throttle {
    enum Direction: Int, CaseIterable { case read, write }

    private(set) var limits: ThrottleLimits
    /// Requests and bytes; of each: together, reads, writes.
    private var requests: [LeakyBucket]
    private var bytes: [LeakyBucket]
    private var leakedAt: UInt64
    /// Indices of transfers that wait, and the bytes for which each counts.
    private var waiting: [IndexQueue]
    private var lengths: [UInt64]
    /// Who is asked first next time, or a limit on both together would serve one of them only.
    private var turn = Direction.read
    /// Readable when the next waiting request may start.
    let timer: TimerFD
    private var isArmed = false
    private var mustArm = false

    init(_ limits: ThrottleLimits, capacity: Int) throws(Errno) {
        timer = try TimerFD()
        self.limits = limits
        requests = Self.buckets(limits.requests)
        bytes = Self.buckets(limits.bytes)
        leakedAt = Clock.monotonicNanoseconds()
        waiting = [IndexQueue(capacity: capacity), IndexQueue(capacity: capacity)]
        lengths = Array(repeating: 0, count: capacity)
    }

    private static func buckets(_ rates: ThrottleLimits.Rates) -> [LeakyBucket] { [LeakyBucket(rates.total), LeakyBucket(rates.read), LeakyBucket(rates.write)] }

    /// Begins anew with other limits, as if the disk had been idle; who waits goes on waiting.
    mutating func change(_ new: ThrottleLimits) {
        limits = new
        requests = Self.buckets(new.requests)
        bytes = Self.buckets(new.bytes)
        mustArm = true
    }

    var waitingCount: Int { waiting[0].count &+ waiting[1].count }

    /// Counts the operation of transfer `index` when it may start now. False: it waits until `nextStartable` or another names it.
    ///
    /// Flushes never wait: file systems wait for them. A discard is a request without bytes. Zero writes count as writes, which they may turn out to be.
    mutating func admit(_ index: Int, _ operation: BlockOperation) -> Bool {
        if operation.kind == .flush || limits.isUnlimited { return true }
        let direction: Direction = operation.kind == .read ? .read : .write
        lengths[index] = operation.kind == .discard ? 0 : operation.length
        leak()
        if waiting[direction.rawValue].count == 0, wait(direction) == 0 {
            count(index, direction)
            return true
        }
        if waiting[direction.rawValue].count == 0 { mustArm = true }
        waiting[direction.rawValue].push(index)
        return false
    }

    /// A transfer whose waiting is over; it is counted.
    mutating func nextStartable() -> Int? {
        if waitingCount == 0 { return nil }
        leak()
        for _ in 0..<2 {
            let direction = turn
            turn = direction == .read ? .write : .read
            guard waiting[direction.rawValue].count > 0, wait(direction) == 0, let index = waiting[direction.rawValue].pop() else { continue }
            count(index, direction)
            return index
        }
        return nil
    }

    /// The next transfer that waits, whether or not its time has come; it is counted.
    mutating func nextEarly() -> Int? {
        let direction: Direction = waiting[Direction.read.rawValue].count > 0 ? .read : .write
        guard let index = takeWaiting(direction) else { return nil }
        count(index, direction)
        return index
    }

    func waitingCount(_ direction: Direction) -> Int { waiting[direction.rawValue].count }

    /// The next transfer that waits, which is not counted: it is cancelled, or put back.
    mutating func takeWaiting(_ direction: Direction) -> Int? {
        mustArm = true
        return waiting[direction.rawValue].pop()
    }

    /// Puts a transfer back, behind the others.
    mutating func putBack(_ index: Int, _ direction: Direction) { waiting[direction.rawValue].push(index) }

    /// True once when the time that `arm` has set is over.
    mutating func isDue() -> Bool {
        guard isArmed, timer.drain() else { return false }
        isArmed = false
        mustArm = true
        return true
    }

    /// Sets the timer, if something has changed.
    mutating func arm() {
        guard mustArm else { return }
        mustArm = false
        var soonest = UInt64.max
        if waiting[0].count > 0 { soonest = wait(.read) }
        if waiting[1].count > 0 { soonest = min(soonest, wait(.write)) }
        isArmed = soonest < .max
        if isArmed { timer.arm(nanoseconds: soonest) } else { timer.disarm() }
    }

    private mutating func leak() {
        let now = Clock.monotonicNanoseconds()
        let passed = now &- leakedAt
        leakedAt = now
        for index in 0..<3 {
            requests[index].leak(passed)
            bytes[index].leak(passed)
        }
    }

    private func wait(_ direction: Direction) -> UInt64 {
        let own = direction.rawValue &+ 1
        return max(max(requests[0].wait, requests[own].wait), max(bytes[0].wait, bytes[own].wait))
    }

    private mutating func count(_ index: Int, _ direction: Direction) {
        let length = Double(lengths[index])
        let units = limits.requestSize > 0 ? max(1, length / Double(limits.requestSize)) : 1
        let own = direction.rawValue &+ 1
        requests[0].add(units)
        requests[own].add(units)
        bytes[0].add(length)
        bytes[own].add(length)
    }
}
