import AddressSpace
import BlockBackend
import Foundation
import Glibc
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Disks that may do little: who waits, and who does not.
@Suite struct BlockThrottleTests {
    /// A guest, a file behind it, and the event loop that serves it.
    private final class Fixture {
        let path = "/var/tmp/virtio-throttle-\(UUID().uuidString)"
        let storage: RawImage
        let guest: Guest
        let loop: EventLoop
        private var sources: [Int32] = []

        init(_ limits: ThrottleLimits = ThrottleLimits(), on loop: EventLoop? = nil, engine: RawImageOptions.Engine = .auto) throws {
            try Data(repeating: 7, count: 1 << 20).write(to: URL(fileURLWithPath: path))
            storage = try RawImage.open(RawImageOptions(path: path, engine: engine, throttle: limits))
            guest = try Guest(over: storage)
            self.loop = try loop ?? EventLoop()
            let transport = guest.transport
            try self.loop.add(transport.notifications[0].raw, .readable) { _ in transport.serveQueue(0) }
            try watch()
            try guest.start()
        }

        func watch() throws {
            for source in sources { loop.remove(source) }
            let transport = guest.transport
            sources = transport.state.withLock { $0.device.eventSources }
            for source in sources { try loop.add(source, .readable) { _ in transport.serveEventSource(source) } }
        }

        deinit {
            guest.transport.reset()
            unlink(path)
        }

        func offer(_ type: UInt32, _ slots: Range<Int>, sector: UInt64 = 0) throws {
            for slot in slots {
                let header = Guest.Place.header + UInt64(slot) * 64
                try guest.writeHeader(type, sector: sector, at: header)
                try guest.memory.store(UInt8(0xff), at: header + 32)
                let data: Buffer = type == RequestType.read ? .writable(Guest.Place.data, 512) : .readable(Guest.Place.data, 512)
                try guest.writeTable([.readable(header, 16)] + (type == RequestType.flush ? [] : [data]) + [.writable(header + 32, 1)], first: slot * 3)
                try guest.offer(UInt16(slot * 3))
            }
            guest.write(.queueNotify, 0)
        }

        func status(_ slot: Int) throws -> UInt8 { try guest.memory.load(UInt8.self, at: Guest.Place.header + UInt64(slot) * 64 + 32) }

        /// Runs the loop until the slots have their answers; false after 20 s.
        func serve(until slots: Range<Int>) throws -> Bool {
            let end = Clock.monotonicNanoseconds() + 20_000_000_000
            while Clock.monotonicNanoseconds() < end {
                loop.runOnce(timeoutMilliseconds: 50)
                if try slots.allSatisfy({ try status($0) != 0xff }) { return true }
            }
            return false
        }

        func seconds(_ body: () throws -> Void) rethrows -> Double {
            let start = Clock.monotonicNanoseconds()
            try body()
            return Double(Clock.monotonicNanoseconds() - start) / 1e9
        }
    }

    private static let slow = ThrottleLimits(requests: .init(total: .init(average: 1)))

    /// The class of starvation: one disk with all its queue waiting, another on the same loop.
    @Test func slowDisk_starvesNeitherAnotherOnItsLoopNorItsOwnFlushes() throws {
        let slow = try Fixture(Self.slow)
        let quick = try Fixture(on: slow.loop)
        try slow.offer(RequestType.write, 0..<60)
        let time = try slow.seconds {
            for _ in 0..<20 {
                try quick.offer(RequestType.write, 0..<20)
                #expect(try quick.serve(until: 0..<20))
            }
            try slow.offer(RequestType.flush, 70..<71)
            #expect(try slow.serve(until: 70..<71))
        }
        #expect(time < 10, "\(time)")
        #expect(try slow.status(70) == BlockStatus.ok)
        #expect(try slow.status(59) == 0xff)
    }

    @Test func limit_isKept() throws {
        let fixture = try Fixture(ThrottleLimits(requests: .init(total: .init(average: 40))))
        let time = try fixture.seconds {
            try fixture.offer(RequestType.write, 0..<45)
            #expect(try fixture.serve(until: 0..<45))
        }
        #expect(time >= 0.97 && time < 10, "\(time)")
    }

    @Test func limitOfARunningDisk_canBeSetAndLifted() throws {
        let fixture = try Fixture()
        try fixture.guest.transport.update(VirtioBlock.self) { disk throws(Errno) in try disk.setThrottle(Self.slow) }
        try fixture.watch()
        try fixture.offer(RequestType.read, 0..<50)
        #expect(try fixture.serve(until: 0..<1))
        #expect(try fixture.status(49) == 0xff)
        try fixture.guest.transport.update(VirtioBlock.self) { disk throws(Errno) in try disk.setThrottle(ThrottleLimits()) }
        #expect(try fixture.serve(until: 0..<50))
        #expect(throws: Errno.notSupported) { try VirtioBlock(storage: nil).setThrottle(Self.slow) }
    }

    /// Neither a reset nor a queue taken back may take as long as the limit would have it, and neither is a way round the limit: what waited is not done.
    @Test func resetWithWaitingRequests_isPrompt_andDropsThem() throws {
        let fixture = try Fixture(Self.slow)
        let guest = fixture.guest
        try fixture.guest.fill(Guest.Place.data, [UInt8](repeating: 9, count: 512))
        let time = try fixture.seconds {
            for round in 0..<5 {
                try guest.start()
                try fixture.offer(RequestType.write, 0..<60, sector: UInt64(round))
                fixture.loop.runOnce(timeoutMilliseconds: 0)
                guest.write(.status, 0)
                #expect(guest.status == [])
            }
        }
        #expect(time < 10)
        let content = try Data(contentsOf: URL(fileURLWithPath: fixture.path))
        #expect(content[512 * 3] == 7 && content[512 * 4] == 7)
        try guest.start()
        #expect(guest.status.isLive)
    }

    @Test func queueTakenBackWithWaitingRequests_isPrompt_andTheyFail() throws {
        let fixture = try Fixture(Self.slow)
        try fixture.offer(RequestType.write, 0..<60)
        fixture.loop.runOnce(timeoutMilliseconds: 0)
        let time = fixture.seconds {
            fixture.guest.write(.queueSelect, 0)
            fixture.guest.write(.queueReady, 0)
        }
        #expect(time < 10)
        #expect(try fixture.status(0) == BlockStatus.ok)
        #expect(try fixture.status(59) == BlockStatus.ioError)
    }

    @Test func drainWithWaitingRequests_doesThemAtOnce() throws {
        let fixture = try Fixture(Self.slow)
        try fixture.offer(RequestType.write, 0..<60)
        let time = fixture.seconds { fixture.guest.transport.drain() }
        #expect(time < 10)
        for slot in 0..<60 { #expect(try fixture.status(slot) == BlockStatus.ok) }
    }

    @Test func statistics_tellWhatTheDiskDid_mergedAndRefusedAsWell() throws {
        let fixture = try Fixture(engine: .threads)
        for slot in 0..<10 { try fixture.offer(RequestType.write, slot..<slot + 1, sector: UInt64(slot)) }
        #expect(try fixture.serve(until: 0..<10))
        try fixture.offer(RequestType.read, 10..<12, sector: 4)
        try fixture.offer(RequestType.flush, 12..<13)
        try fixture.offer(RequestType.write, 13..<14, sector: 1 << 40)
        #expect(try fixture.serve(until: 0..<14))
        let statistics = try #require(fixture.guest.transport.inspect(VirtioBlock.self) { $0.statistics })
        #expect(statistics.writes.count == 10 && statistics.writes.bytes == 5120 && statistics.writes.invalid == 1 && statistics.writes.merged == 9)
        #expect(statistics.reads.count == 2 && statistics.reads.bytes == 1024 && statistics.reads.time > 0)
        #expect(statistics.flushes.count == 1 && statistics.flushes.failed == 0 && statistics.highestWrite == 5120)
        #expect(statistics.lastAccess != nil)
    }

    @Test func writeThroughDisk_hasNothingToFlush_andFlushesEachWrite() throws {
        let guest = try Guest(options: .init(writesThrough: true))
        #expect(guest.offeredFeatures & BlockFeature.flush == 0)
        try guest.start()
        #expect(try guest.request(RequestType.write, [.readable(Guest.Place.data, 512)]).status == BlockStatus.ok)
        #expect(guest.fake.started == [.write, .flush])
        // Plugged into a slot whose driver knows flushes.
        let slot = try Guest(slotIsEmpty: true)
        try slot.start()
        slot.transport.update(VirtioBlock.self) { [fake = slot.fake] in $0.replaceStorage(fake, options: .init(writesThrough: true)) }
        #expect(try slot.request(RequestType.write, [.readable(Guest.Place.data, 512)]).status == BlockStatus.ok)
        #expect(slot.fake.started == [.write, .flush])
    }
}
