import Glibc
import LinuxSys
import Testing

@testable import BlockBackend

@Suite struct ThrottleTests {
    typealias Rate = ThrottleLimits.Rate

    // MARK: Buckets

    /// Units that a bucket lets through in `seconds`, asked for as fast as possible.
    private func units(_ rate: Rate, seconds: Double, size: Double = 1) -> Double {
        var bucket = LeakyBucket(rate)
        var now = 0.0, done = 0.0
        while now < seconds {
            let wait = bucket.wait
            if wait == 0 {
                bucket.add(size)
                done += size
            } else {
                bucket.leak(wait)
                now += Double(wait) / 1e9
            }
        }
        return done
    }

    @Test func bucket_keepsItsAverage() {
        #expect(abs(units(Rate(average: 100), seconds: 10) - 1010) <= 2)
        #expect(abs(units(Rate(average: 1), seconds: 60) - 61) <= 1)
        // Requests far larger than a second's worth: still the average.
        #expect(abs(units(Rate(average: 1 << 20), seconds: 64, size: 4 * 1048576) / 1048576 - 64) <= 8)
        #expect(LeakyBucket(Rate()).wait == 0)
    }

    @Test func bucket_lastsAsLongAsItsBurst_atTheBurstsRate() {
        // At once: a second's worth of the burst.
        #expect(abs(units(Rate(average: 100, burst: 1000), seconds: 0.001) - 1001) <= 2)
        // A burst that fills the bucket at 1000 a second while it leaks 100: 5000 / 900 seconds.
        let rate = Rate(average: 100, burst: 1000, burstSeconds: 5)
        #expect(abs(units(rate, seconds: 2) - 2100) <= 10)
        #expect(abs(units(rate, seconds: 5) - 5100) <= 10)
        #expect(abs(units(rate, seconds: 20) - 7000) <= 120)
    }

    // MARK: Images

    private func open(_ file: TemporaryFile, _ limits: ThrottleLimits, engine: RawImageOptions.Engine = .auto) throws -> RawImage {
        try RawImage.open(RawImageOptions(path: file.path, engine: engine, throttle: limits))
    }

    /// Plays the event loop until `count` have ended, at most for 30 s. Tokens in the order of their ends.
    private func serve(_ image: RawImage, until count: Int) throws -> [UInt64] {
        var tokens: [UInt64] = []
        let end = Clock.monotonicNanoseconds() + 30_000_000_000
        while tokens.count < count {
            try #require(Clock.monotonicNanoseconds() < end, "\(tokens.count) of \(count) ended")
            var descriptors = [image.completionFD, try #require(image.throttleFD)].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            poll(&descriptors, 2, 1000)
            image.reap { token, _ in tokens.append(token) }
            image.kick()
        }
        return tokens
    }

    private func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = Clock.monotonicNanoseconds()
        try body()
        return Double(Clock.monotonicNanoseconds() - start) / 1e9
    }

    @Test func requestsBeyondTheLimit_waitInOrder_asLongAsTheyMust() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try open(file, ThrottleLimits(requests: .init(total: Rate(average: 50))))
        let memory = RequestMemory(count: 512)
        let time = try seconds {
            for token in 0..<56 { image.submit(memory.operation(.read, at: UInt64(token) * 8192, token: UInt64(token))) }
            image.kick()
            let order = try serve(image, until: 56)
            #expect(Array(order.suffix(40)) == (16..<56).map { UInt64($0) })
        }
        withExtendedLifetime(memory) {}
        // Six at once, 50 a second then; a busy host makes it longer.
        #expect(time >= 0.98 && time < 5, "\(time)")
    }

    @Test func bytesAreLimitedForEachDirection_andTheOtherOneGoesOn() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try open(file, ThrottleLimits(bytes: .init(write: Rate(average: 1 << 20))))
        let big = RequestMemory(count: 512 << 10), small = RequestMemory(count: 512)
        let time = try seconds {
            for token in 0..<3 { image.submit(big.operation(.write, at: 0, token: UInt64(token))) }
            for token in 10..<20 { image.submit(small.operation(.read, at: 0, token: UInt64(token))) }
            image.submit(BlockOperation(.flush, token: 30))
            image.submit(BlockOperation(.discard, token: 31))
            image.kick()
            let order = try serve(image, until: 15)
            // The first passes whatever its size; reads and flushes pass those that wait.
            #expect(Set(order.prefix(13)) == Set([0, 30, 31] + (10..<20).map { UInt64($0) }) && Array(order.suffix(2)) == [1, 2])
        }
        withExtendedLifetime((big, small)) {}
        #expect(time >= 0.85 && time < 5, "\(time)")
    }

    @Test func requestSize_makesLargeRequestsCountAsSeveral() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try open(file, ThrottleLimits(requests: .init(read: Rate(average: 20)), requestSize: 4096))
        let memory = RequestMemory(count: 65536)
        let time = try seconds {
            for token in 0..<2 { image.submit(memory.operation(.read, at: 0, token: UInt64(token))) }
            image.kick()
            _ = try serve(image, until: 2)
        }
        withExtendedLifetime(memory) {}
        // 16 units less the two that the bucket holds, at 20 a second.
        #expect(time >= 0.69 && time < 4, "\(time)")
    }

    /// A pause, a reset or the machine's end must not take as long as the limit would have it.
    @Test func drain_startsAllAtOnce_andTheNextOnesPayForIt() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try open(file, ThrottleLimits(requests: .init(write: Rate(average: 10))))
        let memory = RequestMemory(count: 512)
        func submit(_ tokens: Range<UInt64>) { for token in tokens { image.submit(memory.operation(.write, at: 0, token: token)) } }
        submit(0..<100)
        var ended = 0
        #expect(seconds { image.drain { _, result in ended += result == 512 ? 1 : 0 } } < 5)
        #expect(ended == 100)
        submit(100..<101)
        image.kick()
        var early = 0
        Clock.sleep(nanoseconds: 200_000_000)
        image.reap { _, _ in early += 1 }
        #expect(early == 0)
        // Those that have not been started end without having done anything.
        var results: [Int32] = []
        image.cancelWaiting { $0 == 100 }
        image.reap { results.append($1) }
        #expect(results == [-ECANCELED])
        withExtendedLifetime(memory) {}
    }

    @Test func limits_changeWhileRequestsWait() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage.open(RawImageOptions(path: file.path))
        #expect(image.throttleFD == nil)
        try image.setThrottle(ThrottleLimits(requests: .init(total: Rate(average: 1))))
        let descriptor = try #require(image.throttleFD)
        let memory = RequestMemory(count: 512)
        for token in 0..<50 { image.submit(memory.operation(token % 2 == 0 ? .read : .write, at: 0, token: UInt64(token))) }
        image.kick()
        let time = try seconds {
            _ = try serve(image, until: 1)
            try image.setThrottle(ThrottleLimits(requests: .init(total: Rate(average: 100))))
            _ = try serve(image, until: 20)
            try image.setThrottle(ThrottleLimits())
            _ = try serve(image, until: 29)
        }
        #expect(time < 5)
        #expect(image.throttleFD == descriptor)
        withExtendedLifetime(memory) {}
    }

    /// Both directions wait for one limit: neither may be starved by the other.
    @Test func totalLimit_servesReadsAndWritesAlike() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try open(file, ThrottleLimits(requests: .init(total: Rate(average: 200))), engine: .threads)
        let memory = RequestMemory(count: 512)
        for token in 0..<50 { image.submit(memory.operation(.read, at: 0, token: UInt64(token))) }
        for token in 50..<100 { image.submit(memory.operation(.write, at: 0, token: UInt64(token))) }
        image.kick()
        let order = try serve(image, until: 60)
        #expect(order.filter { $0 >= 50 }.count >= 15)
        image.drain { _, _ in }
        withExtendedLifetime(memory) {}
    }
}
