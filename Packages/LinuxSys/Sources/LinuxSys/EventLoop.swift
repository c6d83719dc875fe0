internal import CLinuxSys
internal import Glibc
internal import Synchronization

/// Somebody who sees without a descriptor whether there is something to do: in memory that a guest or the kernel writes.
public protocol EventPoller: AnyObject, Sendable {
    /// Does what there is to do; false when that was nothing. Called very often, on the loop's thread.
    func poll() -> Bool
    /// The loop is about to wait: from now on a descriptor becomes ready when there is something to do. True when it has come before that.
    func arm() -> Bool
}

/// An epoll(7) loop. One thread runs it; every other member may be called on any thread.
///
/// A loop may look for work by itself for some microseconds before it waits, at those of its descriptors' owners that can tell (`EventPoller`): who
/// answers sooner than a thread wakes up is answered without that, and does not have to notify. How long it looks follows from how
/// long it had to wait, as with QEMU's poll-max-ns: an idle loop does not look at all.
///
/// A handler runs on the loop's thread, outside the loop's lock. When another thread removes a descriptor, a call of its handler that has already begun
/// still ends; none begins after `remove` returns on the loop's own thread.
public final class EventLoop: Sendable {
    public struct Events: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let readable = Events(rawValue: EPOLLIN.rawValue)
        public static let writable = Events(rawValue: EPOLLOUT.rawValue)
        /// Always reported, asked for or not.
        public static let error = Events(rawValue: EPOLLERR.rawValue)
        /// Always reported, asked for or not.
        public static let hangup = Events(rawValue: EPOLLHUP.rawValue)
        /// The peer of a stream socket has closed its sending side, or all of it; what it sent before may still be there.
        public static let peerClosed = Events(rawValue: EPOLLRDHUP.rawValue)
    }

    public typealias Handler = @Sendable (Events) -> Void
    /// A handler in an object. A function that comes out of a lock by itself is wrapped anew each time, in memory of the heap; and who watches a descriptor
    /// again and again needs to make only one of these.
    public final class Callback: Sendable {
        let call: Handler
        public init(_ call: @escaping Handler) { self.call = call }
    }
    public struct TimerID: Hashable, Sendable { let number: UInt64 }

    private struct Watch: Sendable {
        let descriptor: Int32
        let generation: UInt32
        var events: Events
        /// A regular file cannot be polled (EPERM): it is always ready.
        let isAlwaysReady: Bool
        let callback: Callback

        var isToBeServed: Bool { isAlwaysReady && !events.isEmpty }
    }
    private struct Timer: Sendable {
        let id: TimerID
        let deadline: UInt64
        let callback: Callback
    }
    private struct State: Sendable {
        /// Ascending by descriptor. No dictionary: the first of a program costs a start 40 microseconds.
        private var watches: [Watch] = []
        var timers: [Timer] = []
        var posted: [@Sendable () -> Void] = []
        var generation: UInt32 = 0
        var nextTimer: UInt64 = 0
        var isStopped = false
        var hasAlwaysReady = false
        var pollers: [any EventPoller] = []
        var lookTime = LookTime()
        var rounds: UInt32 = 0

        subscript(fd: Int32) -> Watch? {
            get {
                let place = place(of: fd)
                return place.isTaken ? watches[place.index] : nil
            }
            set {
                let place = place(of: fd)
                switch (newValue, place.isTaken) {
                case (let watch?, true): watches[place.index] = watch
                case (let watch?, false): watches.insert(watch, at: place.index)
                case (nil, true): watches.remove(at: place.index)
                case (nil, false): break
                }
                hasAlwaysReady = watches.contains { $0.isToBeServed }
            }
        }

        private func place(of fd: Int32) -> (index: Int, isTaken: Bool) {
            var range = watches.indices
            while !range.isEmpty {
                let middle = range.lowerBound + range.count / 2
                if watches[middle].descriptor < fd { range = middle + 1..<range.upperBound } else { range = range.lowerBound..<middle }
            }
            let index = range.lowerBound
            return (index, index < watches.count && watches[index].descriptor == fd)
        }

        var alwaysReady: [Watch] { watches.filter { $0.isToBeServed } }
    }

    private static let wakeData = UInt64.max
    /// After so many rounds that found something by looking the descriptors have their turn, and with them those who have no poller.
    private static let roundsWithoutWait: UInt32 = 16
    /// Who answers within this time has a CPU; nanoseconds.
    private static let timeBeforeYield: UInt64 = 2000
    /// Each time costs some of the next look: yielding at every one made a disk's reads 5 % slower.
    private static let timeBetweenYields: UInt64 = 4000
    private let epoll: OwnedFD
    private let wake: EventFD
    private let state = Mutex(State())
    /// How long the loop looks at most, in nanoseconds; 0: never, and pollers are not asked.
    public let longestLook: UInt64

    public init(longestLook: UInt64 = 0) throws(Errno) {
        self.longestLook = longestLook
        epoll = OwnedFD(adopting: Int32(truncatingIfNeeded: try check(sys_epoll_create())))
        wake = try EventFD()
        _ = try check(sys_epoll_ctl(epoll.raw, EPOLL_CTL_ADD, wake.raw, Events.readable.rawValue, Self.wakeData))
    }

    /// Watches `fd`, which stays the caller's; one watch a descriptor. Throws EEXIST when it is watched already.
    public func add(_ fd: Int32, _ events: Events, _ handler: @escaping Handler) throws(Errno) { try add(fd, events, calling: Callback(handler)) }

    /// As `add`; takes no memory.
    public func add(_ fd: Int32, _ events: Events, calling callback: Callback) throws(Errno) {
        let result: Int = state.withLock { state in
            if state[fd] != nil { return -Int(EEXIST) }
            state.generation &+= 1
            let data = UInt64(state.generation) << 32 | UInt64(UInt32(bitPattern: fd))
            let result = sys_epoll_ctl(epoll.raw, EPOLL_CTL_ADD, fd, events.rawValue, data)
            let isAlwaysReady = result == -Int(EPERM)
            guard result >= 0 || isAlwaysReady else { return result }
            state[fd] = Watch(descriptor: fd, generation: state.generation, events: events, isAlwaysReady: isAlwaysReady, callback: callback)
            return isAlwaysReady ? 1 : 0
        }
        // The kernel tells a loop that waits of the others.
        if try check(result) > 0 { wake.signal() }
    }

    /// Changes what is watched; with no events only errors and hang-ups are reported.
    public func modify(_ fd: Int32, _ events: Events) throws(Errno) {
        let result: Int = state.withLock { state in
            guard var watch = state[fd] else { return -Int(ENOENT) }
            watch.events = events
            state[fd] = watch
            if watch.isAlwaysReady { return 1 }
            return sys_epoll_ctl(epoll.raw, EPOLL_CTL_MOD, fd, events.rawValue, UInt64(watch.generation) << 32 | UInt64(UInt32(bitPattern: fd)))
        }
        if try check(result) > 0 { wake.signal() }
    }

    /// Stops watching `fd`; nothing happens when it is not watched. Call it before the descriptor is closed.
    public func remove(_ fd: Int32) {
        // The handler is released outside the lock: it may own objects whose deinit calls the loop.
        let old: Watch? = state.withLock { state in
            guard let watch = state[fd] else { return nil }
            state[fd] = nil
            if !watch.isAlwaysReady { _ = sys_epoll_ctl(epoll.raw, EPOLL_CTL_DEL, fd, 0, 0) }
            return watch
        }
        _ = consume old
    }

    /// Looks at `poller` too before it waits. Descriptors of its owner are watched all the same.
    public func add(_ poller: any EventPoller) {
        state.withLock { $0.pollers.append(poller) }
        wake.signal()
    }

    /// A call that has begun on the loop's thread still ends.
    public func remove(_ poller: any EventPoller) {
        let old = state.withLock { state in
            let old = state.pollers
            state.pollers.removeAll { $0 === poller }
            return old
        }
        _ = consume old
    }

    /// Runs `work` soon on the loop's thread, in the order of the calls.
    public func post(_ work: @escaping @Sendable () -> Void) {
        state.withLock { $0.posted.append(work) }
        wake.signal()
    }

    /// Runs `handler` once, not before `nanoseconds` have passed (CLOCK_MONOTONIC).
    @discardableResult
    public func after(nanoseconds: UInt64, _ handler: @escaping @Sendable () -> Void) -> TimerID {
        after(nanoseconds: nanoseconds, calling: Callback { _ in handler() })
    }

    /// As `after`, without events; takes no memory.
    @discardableResult
    public func after(nanoseconds: UInt64, calling callback: Callback) -> TimerID {
        let (deadline, overflow) = Clock.monotonicNanoseconds().addingReportingOverflow(nanoseconds)
        let id = state.withLock { state in
            state.nextTimer &+= 1
            let id = TimerID(number: state.nextTimer)
            state.timers.append(Timer(id: id, deadline: overflow ? .max : deadline, callback: callback))
            return id
        }
        wake.signal()
        return id
    }

    public func cancel(_ timer: TimerID) {
        state.withLock { $0.timers.removeAll { $0.id == timer } }
    }

    /// Makes `run` return after the handlers of the current round.
    public func stop() {
        state.withLock { $0.isStopped = true }
        wake.signal()
    }

    /// Handles events until `stop` is called. Work posted before `stop` is still done.
    public func run() {
        while !state.withLock({ $0.isStopped }) { runOnce() }
        runPosted()
        state.withLock { $0.isStopped = false }
    }

    private struct Round {
        var timeout: Int32
        let hasAlwaysReady: Bool
        let hasTimers: Bool
        let pollers: [any EventPoller]
        let lookTime: LookTime
        let isTurnOfOthers: Bool
    }

    /// Waits for at least one event or until `timeoutMilliseconds` have passed (negative: no limit), and handles what is there.
    public func runOnce(timeoutMilliseconds: Int32 = -1) {
        var round = state.withLock { state in
            let isUrgent = state.hasAlwaysReady || !state.posted.isEmpty
            state.rounds &+= 1
            return Round(
                timeout: isUrgent ? 0 : Self.timeout(until: state.timers.lazy.map(\.deadline).min(), limit: timeoutMilliseconds),
                hasAlwaysReady: state.hasAlwaysReady, hasTimers: !state.timers.isEmpty, pollers: longestLook > 0 ? state.pollers : [],
                lookTime: state.lookTime, isTurnOfOthers: state.rounds % Self.roundsWithoutWait == 0)
        }
        var began: UInt64?
        if !round.pollers.isEmpty {
            let now = Clock.monotonicNanoseconds()
            if look(round, since: now) {
                if round.timeout != 0, !round.isTurnOfOthers { return }
                round.timeout = 0
            } else if round.timeout != 0 {
                began = now
                for poller in round.pollers where poller.arm() { round.timeout = 0 }
            }
        }
        wait(round, since: began)
        if round.hasAlwaysReady { deliverAlwaysReady() }
        if round.hasTimers { runTimers() }
        runPosted()
    }

    /// Asks the pollers until one of them has done something or the time is up. After a moment whoever waits for this CPU may have it between two looks: it
    /// may be the one who does what the loop is looking for, as io_uring's workers do.
    private func look(_ round: borrowing Round, since began: UInt64) -> Bool {
        var looked: UInt64 = 0, nextYield = Self.timeBeforeYield
        while true {
            var hasFound = false
            for poller in round.pollers where poller.poll() { hasFound = true }
            if hasFound {
                if looked > LookTime.moment, round.lookTime.failures > 0 { state.withLock { $0.lookTime.found() } }
                return true
            }
            guard round.lookTime.nanoseconds > 0, round.timeout != 0 else { return false }
            looked = Clock.monotonicNanoseconds() &- began
            if looked >= round.lookTime.nanoseconds { return false }
            if looked >= nextYield {
                sys_yield()
                nextYield = looked &+ Self.timeBetweenYields
            }
        }
    }

    /// `began`: when the loop, which looks, had nothing to do any more; the next look is as long as is worth while.
    private func wait(_ round: borrowing Round, since began: UInt64?) {
        let capacity = 16
        unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: capacity) { events in
            // SAFETY: the kernel fills at most `capacity` entries, and only those it counts are read.
            let count = unsafe sys_epoll_wait(epoll.raw, events.baseAddress, Int32(capacity), round.timeout)
            if let began {
                let waited = Clock.monotonicNanoseconds() &- began
                state.withLock { $0.lookTime.waited(waited, longest: longestLook) }
            }
            var index = 0
            while index < count {
                guard let event = unsafe events.baseAddress.map({ unsafe $0 + index }) else { break }
                index += 1
                let data = unsafe sys_epoll_data(event)
                if data == Self.wakeData {
                    wake.drain()
                } else {
                    deliver(Events(rawValue: unsafe event.pointee.events), descriptor: Int32(bitPattern: UInt32(truncatingIfNeeded: data)), generation: UInt32(data >> 32))
                }
            }
        }
    }

    private func deliver(_ events: Events, descriptor: Int32, generation: UInt32) {
        let callback: Callback? = state.withLock { state in
            // The generation tells an event of this watch from one of an earlier watch of the same number in the same round.
            guard let watch = state[descriptor], watch.generation == generation else { return nil }
            return watch.callback
        }
        callback?.call(events)
    }

    private func deliverAlwaysReady() {
        let ready = state.withLock { $0.alwaysReady }
        for watch in ready { watch.callback.call(watch.events) }
    }

    private func runTimers() {
        let now = Clock.monotonicNanoseconds()
        while let timer = takeTimer(dueAt: now) { timer.callback.call([]) }
    }

    /// The first of those that are due.
    private func takeTimer(dueAt now: UInt64) -> Timer? {
        state.withLock { state in
            guard let first = state.timers.indices.min(by: { state.timers[$0].deadline < state.timers[$1].deadline }), state.timers[first].deadline <= now
            else { return nil }
            return state.timers.remove(at: first)
        }
    }

    private func runPosted() {
        let work = state.withLock { state in
            let work = state.posted
            state.posted = []
            return work
        }
        for item in work { item() }
    }

    /// Milliseconds for epoll_wait, rounded up so that a timer is never early.
    private static func timeout(until deadline: UInt64?, limit: Int32) -> Int32 {
        guard let deadline else { return limit }
        let now = Clock.monotonicNanoseconds()
        let wait = deadline > now ? Int32(clamping: (deadline - now) / 1_000_000 + 1) : 0
        return limit < 0 ? wait : min(wait, limit)
    }
}
