import CTestSupport
import Glibc
import LinuxSys
import Testing

@Suite struct EventLoopTests {
    @Test func postedWork_runsInOrderBeforeStop() throws {
        let loop = try EventLoop()
        let seen = WaitWord()
        loop.post { #expect(seen.exchange(0, for: 1)) }
        loop.post { #expect(seen.exchange(1, for: 2)) }
        loop.post { loop.stop() }
        loop.run()
        #expect(seen.value == 2)
    }

    @Test func readableDescriptor_callsItsHandlerUntilRemoved() throws {
        let loop = try EventLoop()
        let event = try EventFD()
        let calls = WaitWord()
        try loop.add(event.raw, .readable) { events in
            #expect(events.contains(.readable))
            calls.store(calls.value + 1)
        }
        event.signal()
        loop.runOnce(timeoutMilliseconds: 1000)
        while calls.value == 0 { loop.runOnce(timeoutMilliseconds: 1000) }
        loop.remove(event.raw)
        let before = calls.value
        for _ in 0..<3 { loop.runOnce(timeoutMilliseconds: 0) }
        #expect(calls.value == before)
    }

    @Test func secondWatchOfADescriptor_isRefused() throws {
        let loop = try EventLoop()
        let event = try EventFD()
        try loop.add(event.raw, .readable) { _ in }
        #expect(throws: Errno.exists) { try loop.add(event.raw, .readable) { _ in } }
    }

    @Test func regularFile_isAlwaysReadableUntilUnwatched() throws {
        let loop = try EventLoop()
        let path = "/tmp/linuxsys-\(getpid())-always"
        let file = try SysFile.open(path, [.readWrite, .create])
        defer { try? SysFile.remove(path) }
        let calls = WaitWord()
        try loop.add(file.raw, .readable) { _ in calls.store(calls.value + 1) }
        for _ in 0..<5 { loop.runOnce(timeoutMilliseconds: 1000) }
        #expect(calls.value >= 4)
        try loop.modify(file.raw, [])
        let before = calls.value
        for _ in 0..<3 { loop.runOnce(timeoutMilliseconds: 0) }
        #expect(calls.value == before)
    }

    /// The numbers are as far apart as the limit on open files allows, and come and go in another order than theirs.
    @Test func eachOfManyDescriptors_hasItsOwnHandler() throws {
        let loop = try EventLoop()
        let event = try EventFD()
        var limit = rlimit()
        #expect(unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
        let highest = Int32(min(limit.rlim_cur, 60_000)) - 1
        let numbers = [highest, 300, highest / 2, 301, 299].map { fcntl(event.raw, F_DUPFD_CLOEXEC, $0) }
        try #require(numbers.allSatisfy { $0 > 0 } && Set(numbers).count == 5)
        defer { for number in numbers { close(number) } }
        let called = numbers.map { _ in WaitWord() }
        for (number, word) in zip(numbers, called) { try loop.add(number, .readable) { _ in word.store(word.value + 1) } }
        event.signal()
        loop.runOnce(timeoutMilliseconds: 1000)
        #expect(called.map(\.value) == [1, 1, 1, 1, 1])
        loop.remove(numbers[0])
        loop.remove(numbers[3])
        loop.remove(numbers[3])
        #expect(throws: Errno.noEntry) { try loop.modify(numbers[3], .readable) }
        loop.runOnce(timeoutMilliseconds: 1000)
        #expect(called.map(\.value) == [1, 2, 2, 1, 2])
    }

    @Test func loopThatWaits_noticesWhatOtherThreadsAdd() throws {
        let loop = try EventLoop()
        let thread = try OSThread.start(name: "loop") { loop.run() }
        // Long enough for the loop to wait; were it not, the test would pass all the same.
        Clock.sleep(nanoseconds: 20_000_000)
        let event = try EventFD()
        event.signal()
        let file = try SysFile.open("/proc/self/exe", .readOnly)
        for descriptor in [event.raw, file.raw] {
            let called = WaitWord()
            try loop.add(descriptor, .readable) { [weak loop] _ in
                loop?.remove(descriptor)
                called.store(1)
                called.wakeAll()
            }
            called.wait(while: 0, nanoseconds: 10_000_000_000)
            #expect(called.value == 1)
        }
        loop.stop()
        thread.join()
    }

    @Test func timers_runInOrderOfTheirDeadlinesAndNotEarly() throws {
        let loop = try EventLoop()
        let order = WaitWord()
        let begin = Clock.monotonicNanoseconds()
        loop.after(nanoseconds: 20_000_000) { #expect(order.exchange(1, for: 2)); loop.stop() }
        loop.after(nanoseconds: 5_000_000) { #expect(order.exchange(0, for: 1)) }
        let cancelled = loop.after(nanoseconds: 1_000_000) { order.store(99) }
        loop.cancel(cancelled)
        loop.run()
        #expect(order.value == 2)
        #expect(Clock.monotonicNanoseconds() - begin >= 20_000_000)
    }

    @Test func staleEvent_ofAClosedAndReusedDescriptor_isNotDelivered() throws {
        let loop = try EventLoop()
        let first = try EventFD(), second = try EventFD()
        let wrong = WaitWord()
        // Whichever of the two runs first replaces the watch of the other: the other's pending event must not reach the new watch.
        for (mine, other) in [(first, second), (second, first)] {
            try loop.add(mine.raw, .readable) { _ in
                loop.remove(other.raw)
                other.drain()
                try? loop.add(other.raw, .readable) { _ in wrong.store(1) }
                mine.drain()
            }
        }
        first.signal()
        second.signal()
        loop.runOnce(timeoutMilliseconds: 1000)
        loop.runOnce(timeoutMilliseconds: 0)
        #expect(wrong.value == 0)
    }

    @Test func otherThreads_mayPostAndStop() throws {
        let loop = try EventLoop()
        let count = WaitWord()
        let thread = try OSThread.start(name: "poster") {
            for _ in 0..<1000 { loop.post { count.store(count.value + 1) } }
            loop.post { loop.stop() }
        }
        loop.run()
        thread.join()
        #expect(count.value == 1000)
    }

    // MARK: Pollers

    /// Finds something as long as `work` is not 0.
    private final class Poller: EventPoller {
        let work = WaitWord(), polls = WaitWord(), arms = WaitWord(), comesWhileArming = WaitWord()

        func poll() -> Bool {
            polls.store(polls.value + 1)
            guard work.value > 0 else { return false }
            work.store(work.value - 1)
            return true
        }

        func arm() -> Bool {
            arms.store(arms.value + 1)
            return comesWhileArming.exchange(1, for: 0)
        }
    }

    private static let never: Int32 = 60_000

    @Test func poller_thatFindsSomething_savesTheWait_andIsArmedBeforeOne() throws {
        let loop = try EventLoop(longestLook: 50_000)
        let poller = Poller()
        loop.add(poller)
        loop.runOnce(timeoutMilliseconds: 0)
        #expect(poller.arms.value == 0)
        poller.work.store(3)
        for _ in 0..<3 { loop.runOnce(timeoutMilliseconds: Self.never) }
        #expect(poller.work.value == 0 && poller.arms.value == 0)
        loop.runOnce(timeoutMilliseconds: 1)
        #expect(poller.arms.value == 1)
        // What comes while it is armed is not waited for.
        poller.comesWhileArming.store(1)
        loop.runOnce(timeoutMilliseconds: Self.never)
        #expect(poller.arms.value == 2)
        loop.remove(poller)
        let before = poller.polls.value
        loop.runOnce(timeoutMilliseconds: 1)
        #expect(poller.polls.value == before)
    }

    @Test func pollerThatAlwaysFindsSomething_doesNotKeepDescriptorsWorkAndTimersWaiting() throws {
        let loop = try EventLoop(longestLook: 50_000)
        let poller = Poller(), seen = WaitWord()
        let event = try EventFD()
        poller.work.store(.max)
        loop.add(poller)
        try loop.add(event.raw, .readable) { _ in
            event.drain()
            seen.store(seen.value | 1)
        }
        event.signal()
        loop.post { seen.store(seen.value | 2) }
        loop.after(nanoseconds: 0) { seen.store(seen.value | 4) }
        for _ in 0..<40 { loop.runOnce(timeoutMilliseconds: Self.never) }
        #expect(seen.value == 7)
    }

    @Test func idleLoop_doesNotLook_andABusyOneLooksLonger() throws {
        let loop = try EventLoop(longestLook: 50_000_000)
        let poller = Poller()
        loop.add(poller)
        func polls(milliseconds: Int32) -> UInt32 {
            let before = poller.polls.value
            loop.runOnce(timeoutMilliseconds: milliseconds)
            return poller.polls.value - before
        }
        loop.runOnce(timeoutMilliseconds: 0)
        _ = polls(milliseconds: 100)
        #expect(polls(milliseconds: 100) == 1)
        // Waits that end soon.
        for _ in 0..<6 {
            loop.post {}
            poller.comesWhileArming.store(1)
            _ = polls(milliseconds: 1)
            poller.comesWhileArming.store(1)
            _ = polls(milliseconds: 1)
        }
        #expect(polls(milliseconds: 100) > 1)
    }

    @Test func loopThatLooks_leavesItsCPUToWhomItLooksFor() throws {
        let loop = try EventLoop(longestLook: 200_000_000)
        let poller = Poller(), isOver = WaitWord()
        loop.add(poller)
        let cpu = test_current_cpu()
        let thread = try OSThread.start(name: "loop") {
            #expect(test_stay_on_cpu(cpu) == 0)
            // Looks that bring nothing and waits that are short: now it looks for 60 ms and more.
            for _ in 0..<16 {
                poller.comesWhileArming.store(1)
                loop.runOnce(timeoutMilliseconds: Self.never)
            }
            let before = poller.polls.value
            for _ in 0..<50 { loop.runOnce(timeoutMilliseconds: 1000) }
            // Some for each; without leaving the CPU as many as fit between two decisions of the scheduler, which are thousands.
            #expect(poller.polls.value - before < 20_000)
            #expect(poller.arms.value < 20)
            isOver.store(1)
        }
        let worker = try OSThread.start(name: "worker") {
            #expect(test_stay_on_cpu(cpu) == 0)
            while isOver.value == 0 {
                if poller.arms.value >= 16, poller.work.value == 0 { poller.work.store(1) }
                sched_yield()
            }
        }
        thread.join()
        worker.join()
    }

    @Test func loopThatDoesNotLook_asksNobody() throws {
        let loop = try EventLoop()
        let poller = Poller()
        poller.work.store(1)
        loop.add(poller)
        for _ in 0..<3 { loop.runOnce(timeoutMilliseconds: 1) }
        #expect(poller.polls.value == 0 && poller.arms.value == 0)
    }
}
