import AddressSpace
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

/// What devices count: each number is what the driver has done, no more and no less, and a reset takes nothing away.
@Suite struct CounterTests {
    @Test func queue_countsRequestsBytesNotificationsAndInterrupts() throws {
        let guest = try Guest()
        try guest.start()
        let before = guest.transport.statistics
        #expect(before.activations == 1 && before.resets == 1 && before.queues.count == 1)
        // Three reads of a sector, notified one by one.
        for _ in 0..<3 { #expect(try guest.request(RequestType.read, [.writable(Guest.Place.data, 512)]).status == 0) }
        let after = guest.transport.statistics
        #expect(after.queues[0].requests == before.queues[0].requests + 3)
        #expect(after.queues[0].bytesFromGuest == before.queues[0].bytesFromGuest + 3 * 16)
        #expect(after.queues[0].bytesToGuest == before.queues[0].bytesToGuest + 3 * 513)
        #expect(after.interrupts == UInt64(guest.line.pulses))
        #expect(after.queues[0].interrupts == after.interrupts)
        #expect(after.queues[0].stalls == 0)
        guest.write(.queueNotify, 0)
        guest.write(.queueNotify, 0)
        guest.serve()
        #expect(guest.transport.statistics.queues[0].notifications == after.queues[0].notifications + 2)
    }

    @Test func numbers_outliveResets() throws {
        let guest = try Guest()
        for round in 1...3 as ClosedRange<UInt64> {
            try guest.start()
            _ = try guest.request(RequestType.read, [.writable(Guest.Place.data, 512)])
            let statistics = guest.transport.statistics
            #expect(statistics.queues[0].requests == round && statistics.activations == round && statistics.resets == round)
            #expect(statistics.queues[0].bytesToGuest == round * 513)
        }
        guest.write(.status, 0)
        #expect(guest.transport.statistics.queues[0].requests == 3)
    }

    @Test func chainPutBack_isAStallAndNoBytes() throws {
        let guest = try Guest()
        let queue = try SplitQueue(
            QueueConfiguration(size: 256, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used),
            maximumSize: 256, features: 0, memory: guest.memory)
        let chain = DescriptorChain(maximumLength: 256)
        try guest.writeTable([.readable(0x10000, 100)])
        try guest.offer(0)
        #expect(try queue.pop(into: chain))
        #expect(queue.counters.bytesFromGuest.value == 100)
        queue.undoPop()
        #expect(queue.counters.bytesFromGuest.value == 0)
        #expect(try queue.pop(into: chain))
        #expect(queue.counters.statistics.bytesFromGuest == 100 && queue.counters.statistics.stalls == 1 && queue.counters.statistics.requests == 0)
    }

    @Test func network_countsPacketsInItsQueues() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        let before = guest.transport.statistics
        #expect(before.counters.map(\.name) == ["rx-dropped-packets", "rx-filtered-packets", "tx-refused-packets"])
        #expect(try guest.transmit(Frame.make(64), on: wire) != nil)
        // Without buffers the first packet waits.
        wire.send(Frame.make(100))
        guest.run()
        try guest.post(4)
        #expect(try guest.newUsed(0).map(\.length) == [112])
        let after = guest.transport.statistics
        #expect(after.queues[1].requests == before.queues[1].requests + 1)
        #expect(after.queues[1].bytesFromGuest == before.queues[1].bytesFromGuest + 12 + 64)
        #expect(after.queues[1].notifications > before.queues[1].notifications)
        #expect(after.queues[0].requests == before.queues[0].requests + 1)
        #expect(after.queues[0].bytesToGuest == before.queues[0].bytesToGuest + 12 + 100)
        #expect(after.queues[0].stalls > 0)
        #expect(after.interrupts == UInt64(guest.line.pulses))
        // What is for somebody else, once the driver wants only its own.
        #expect(try guest.mode(0, false) == NetControlCommand.acknowledged)
        wire.send(Frame.make(100, to: Frame.other))
        guest.run()
        #expect(guest.transport.statistics.counters.first { $0.name == "rx-filtered-packets" }?.value == 1)
    }

    @Test func counter_wraps() {
        let counter = Counter()
        counter.add(.max)
        counter.add(3)
        #expect(counter.value == 2)
        counter.subtract(4)
        #expect(counter.value == UInt64.max - 1)
    }

    /// Any thread reads while the queue is served.
    @Test func statistics_areReadWhileTheQueueIsServed() throws {
        let guest = try Guest()
        try guest.start()
        let transport = guest.transport
        let reader = try OSThread.start(name: "reader") {
            var last: UInt64 = 0
            while last < 500 {
                let now = transport.statistics.queues[0].requests
                precondition(now >= last, "a count went back")
                last = now
            }
        }
        for _ in 0..<500 { _ = try guest.request(RequestType.identify, [.writable(Guest.Place.data, 20)]) }
        reader.join()
        #expect(transport.statistics.queues[0].requests == 500)
    }

    // MARK: Disks

    @Test func blockStatistics_followEachRequest() {
        var statistics = BlockStatistics()
        #expect(statistics.lastAccess == nil)
        let start = BlockStatistics.begin()
        statistics.end(.write, offset: 4096, bytes: 512, start: start)
        statistics.end(.write, offset: 0, bytes: 512, start: start)
        statistics.end(.read, offset: 1 << 30, bytes: 1024, start: start)
        statistics.fail(.flush, start: start)
        statistics.refuse(.read)
        statistics.merge(.discard, count: 2)
        #expect(statistics.writes.count == 2 && statistics.writes.bytes == 1024 && statistics.highestWrite == 4608)
        #expect(statistics.reads.count == 1 && statistics.reads.bytes == 1024 && statistics.reads.invalid == 1 && statistics.reads.failed == 0)
        #expect(statistics.flushes.count == 0 && statistics.flushes.failed == 1)
        #expect(statistics.discards == { var only = BlockStatistics.Operations(); only.merged = 2; return only }())
        #expect(statistics.lastAccess.map { $0 >= start } == true)
        // A clock that goes back adds nothing.
        let time = statistics.reads.time
        statistics.end(.read, start: .max)
        #expect(statistics.reads.time == time)
    }
}
