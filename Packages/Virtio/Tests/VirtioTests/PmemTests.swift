import AddressSpace
import Foundation
import LinuxSys
import Testing
@testable import Virtio

/// Flushes end when the test says so. One thread.
final class FakeFlush: FlushTarget, @unchecked Sendable {
    private let event: EventFD
    private(set) var started = 0
    var isHolding = false
    var succeeds = true
    private var isUnderWay = false

    init() throws { event = try EventFD() }

    var completionDescriptor: Int32 { event.raw }
    func start() {
        precondition(!isUnderWay, "two at once")
        started += 1
        isUnderWay = true
        if !isHolding { end() }
    }
    func end() {
        isUnderWay = false
        event.signal()
    }
    func takeResult() -> Bool? { event.drain() > 0 ? succeeds : nil }
    func wait() { if isUnderWay { end() } }
}

@Suite struct PmemTests {
    private static let place = QueueGuest.data

    private func guest(_ target: (any FlushTarget & Sendable)?) throws -> QueueGuest {
        let guest = try QueueGuest(VirtioPmem(base: 1 << 32, size: 64 << 20, target: target))
        try guest.start(size: 128)
        return guest
    }

    private func offer(_ guest: QueueGuest, head: UInt16 = 0, type: UInt32 = 0) throws {
        try guest.memory.store(type, at: Self.place + 16 * UInt64(head))
        try guest.memory.store(UInt32(0x7777_7777), at: Self.place + 16 * UInt64(head) + 8)
        try guest.offer(0, head: head, [.readable(Self.place + 16 * UInt64(head), 4), .writable(Self.place + 16 * UInt64(head) + 8, 4)])
    }

    private func status(_ guest: QueueGuest, head: UInt16 = 0) throws -> UInt32 { try guest.memory.load(UInt32.self, at: Self.place + 16 * UInt64(head) + 8) }

    @Test func configuration_isThatOfTheSpecification() throws {
        let guest = try guest(nil)
        #expect(guest.read(.deviceID) == 27)
        #expect(guest.config(0, 8) == 1 << 32)
        #expect(guest.config(8, 8) == 64 << 20)
        #expect(guest.config(16, 8) == 0)
    }

    @Test func flush_isAnsweredWhenItHasEnded() throws {
        let fake = try FakeFlush()
        fake.isHolding = true
        let guest = try guest(fake)
        try offer(guest)
        guest.kick(0)
        #expect(fake.started == 1)
        #expect(try guest.newUsed(0).isEmpty)
        fake.end()
        guest.serve()
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 4)])
        #expect(try status(guest) == 0)
        #expect(guest.read(.interruptStatus) == VirtioInterrupt.usedBuffer)
        fake.succeeds = false
        fake.isHolding = false
        try offer(guest)
        guest.kick(0)
        #expect(try guest.newUsed(0).count == 1)
        #expect(try status(guest) == .max)
        #expect(guest.transport.statistics.counters == [DeviceCounter("flushes", 2), DeviceCounter("failed-flushes", 1)])
    }

    @Test func requestsThatWaitTogether_areOneFlush_andLaterOnesAreNotAmongThem() throws {
        let fake = try FakeFlush()
        fake.isHolding = true
        let guest = try guest(fake)
        for head in 0..<10 as Range<UInt16> { try offer(guest, head: 2 * head) }
        guest.kick(0)
        for head in 10..<30 as Range<UInt16> {
            try offer(guest, head: 2 * head)
            guest.kick(0)
        }
        #expect(fake.started == 1)
        fake.end()
        guest.serve()
        #expect(try guest.newUsed(0).map(\.id) == (0..<10).map { 2 * $0 })
        // What came meanwhile was written later than that flush began.
        #expect(fake.started == 2)
        #expect(try status(guest, head: 20) == 0x7777_7777)
        fake.end()
        guest.serve()
        #expect(try guest.newUsed(0).map(\.id) == (10..<30).map { 2 * $0 })
        #expect(fake.started == 2)
    }

    @Test func memoryThatNeedsNoFlush_isAnsweredAtOnce() throws {
        let guest = try guest(nil)
        for head in 0..<20 as Range<UInt16> { try offer(guest, head: 2 * head) }
        guest.kick(0)
        #expect(try guest.newUsed(0).count == 20)
        #expect(try status(guest, head: 38) == 0)
    }

    @Test func pausedMachine_hasNoFlushUnderWay() throws {
        let fake = try FakeFlush()
        fake.isHolding = true
        let guest = try guest(fake)
        try offer(guest)
        guest.kick(0)
        try offer(guest, head: 2)
        guest.transport.drain()
        #expect(try guest.newUsed(0).count == 2)
    }

    @Test func sharedFile_isReallyFlushed() throws {
        let path = "/tmp/pmem-\(UUID().uuidString.prefix(8))"
        let file = try SysFile.open(path, [.readWrite, .create])
        defer { unlink(path) }
        #expect(ftruncate(file.raw, 2 << 20) == 0)
        let memory = try HostMemory.mapping(file, size: 2 << 20)
        let guest = try QueueGuest(VirtioPmem(base: 1 << 32, size: 64 << 20, target: try FileFlush(memory)))
        try guest.start(size: 128)
        for round in 1...20 as ClosedRange<UInt64> {
            try offer(guest)
            guest.write(.queueNotify, 0)
            var used: [UsedEntry] = []
            for _ in 0..<5000 where used.isEmpty {
                guest.serve()
                used = try guest.newUsed(0)
                if used.isEmpty { Clock.sleep(nanoseconds: 1_000_000) }
            }
            #expect(used == [UsedEntry(id: 0, length: 4)])
            #expect(try status(guest) == 0)
            #expect(guest.transport.statistics.counters.first == DeviceCounter("flushes", round))
        }
    }

    @Test func fileThatCannotBeFlushed_isAnError() throws {
        // A pipe's fdatasync fails with EINVAL; a HostMemory has one only by its number.
        let memory = try HostMemory.mapping(try SysFile.open("/dev/zero", .readWrite), size: 2 << 20)
        let flush = try FileFlush(memory)
        flush.start()
        flush.wait()
        #expect(flush.takeResult() == false)
        #expect(flush.takeResult() == nil)
    }

    // MARK: Hostile guests

    @Test func class10_shortBuffersAndOtherRequests_comeBack() throws {
        let guest = try guest(try FakeFlush())
        for chain in [[.readable(Self.place, 4)], [.readable(Self.place, 3), .writable(Self.place + 8, 4)], [.readable(Self.place, 4), .writable(Self.place + 8, 3)], [.writable(Self.place, 4)]] as [[Buffer]] {
            try guest.offer(0, chain)
            guest.kick(0)
            #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 0)])
        }
        #expect(guest.transport.statistics.droppedRequests == 4)
        for type in [1, 0x100, .max] as [UInt32] {
            try offer(guest, type: type)
            guest.kick(0)
            #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 4)])
            #expect(try status(guest) == .max)
        }
        #expect(guest.status.isLive)
    }

    @Test func class28_aFloodOfFlushes_isOneFlushAtATime() throws {
        let fake = try FakeFlush()
        fake.isHolding = true
        let guest = try guest(fake)
        for head in 0..<64 as Range<UInt16> { try offer(guest, head: 2 * head) }
        for _ in 0..<1000 { guest.kick(0) }
        #expect(fake.started == 1)
        fake.end()
        guest.serve()
        #expect(try guest.newUsed(0).count == 64)
        #expect(fake.started == 1)
    }

    @Test func class11_resetDuringAFlush_touchesNothing_andTheNextFlushIsANewOne() throws {
        let fake = try FakeFlush()
        fake.isHolding = true
        let guest = try guest(fake)
        try offer(guest)
        guest.kick(0)
        guest.write(.status, 0)
        try guest.start(size: 128)
        try offer(guest, head: 4)
        guest.kick(0)
        #expect(fake.started == 1)
        fake.end()
        guest.serve()
        // The old flush began before the new request was there.
        #expect(try guest.newUsed(0).isEmpty)
        #expect(fake.started == 2)
        fake.end()
        guest.serve()
        #expect(try guest.newUsed(0) == [UsedEntry(id: 4, length: 4)])
    }

    @Test func class19_ringsBrokenDuringAFlush_needReset() throws {
        let fake = try FakeFlush()
        fake.isHolding = true
        let guest = try guest(fake)
        try offer(guest)
        guest.kick(0)
        try guest.memory.store(UInt64.max, at: guest.rings[0].descriptors)
        fake.end()
        guest.serve()
        #expect(guest.status.contains(.needsReset))
        try guest.start(size: 128)
        try offer(guest)
        guest.kick(0)
        fake.end()
        guest.serve()
        #expect(try guest.newUsed(0).count == 1)
    }
}
