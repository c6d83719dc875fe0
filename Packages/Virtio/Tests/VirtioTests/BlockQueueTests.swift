import AddressSpace
import BlockBackend
import Glibc
import Testing
@testable import Virtio

/// A disk with several queues (VIRTIO_BLK_F_MQ): one image, and each request goes back to the queue that it came from.
@Suite struct BlockQueueTests {
    private struct Disk {
        let fake: FakeStorage
        let guest: QueueGuest

        init(queues: Int, inFlightLimit: Int = 128, features: UInt64? = nil, leavingOut: Set<Int> = []) throws {
            fake = try FakeStorage(inFlightLimit: inFlightLimit)
            guest = try QueueGuest(VirtioBlock(storage: fake, options: .init(queueCount: queues)))
            try guest.start(features: features, leavingOut: leavingOut)
        }

        func header(_ queue: Int, _ slot: Int) -> UInt64 { QueueGuest.data + UInt64(queue) * 0x1_0000 + UInt64(slot) * 0x1000 }

        /// A read of one sector by descriptors 3 * slot...
        func offerRead(_ queue: Int, _ slot: Int, sector: UInt64 = 0) throws {
            let place = header(queue, slot)
            try guest.memory.store(RequestType.read, at: place)
            try guest.memory.store(sector, at: place + 8)
            try guest.memory.store(UInt8(0xff), at: place + 16)
            try guest.offer(queue, head: UInt16(slot * 3), [.readable(place, 16), .writable(place + 512, 512), .writable(place + 16, 1)])
        }

        func status(_ queue: Int, _ slot: Int) throws -> UInt8 { try guest.memory.load(UInt8.self, at: header(queue, slot) + 16) }
        func firstByte(_ queue: Int, _ slot: Int) throws -> UInt8 { try guest.memory.load(UInt8.self, at: header(queue, slot) + 512) }
    }

    @Test(arguments: [1, 2, 32]) func number_isOfferedAndInTheConfiguration(_ count: Int) throws {
        let disk = try Disk(queues: count)
        #expect(disk.guest.config(34, 2) == UInt64(count))
        #expect((disk.guest.offeredFeatures & BlockFeature.multiqueue != 0) == (count > 1))
        #expect(disk.guest.transport.queueSizes == Array(repeating: 256, count: count))
    }

    @Test func numberAndSize_outOfRange_areBroughtIntoIt() {
        #expect(VirtioBlock(storage: nil, options: .init(queueCount: 0)).queueSizes == [256])
        #expect(VirtioBlock(storage: nil, options: .init(queueCount: 100)).queueSizes.count == 32)
        #expect(VirtioBlock(storage: nil, options: .init(queueSize: 1024, queueCount: 2)).queueSizes == [1024, 1024])
    }

    @Test func requests_goBackToTheirQueue() throws {
        let disk = try Disk(queues: 4)
        for queue in 0..<4 {
            for slot in 0...queue { try disk.offerRead(queue, slot, sector: UInt64(queue * 10 + slot)) }
            disk.guest.kick(queue)
        }
        for queue in 0..<4 {
            #expect(try disk.guest.newUsed(queue) == (0...queue).map { UsedEntry(id: UInt32($0 * 3), length: 513) })
            for slot in 0...queue {
                #expect(try disk.status(queue, slot) == BlockStatus.ok)
                #expect(try disk.firstByte(queue, slot) == UInt8(truncatingIfNeeded: (queue * 10 + slot) * 7 + 3))
            }
        }
        #expect(disk.guest.transport.statistics.queues.map(\.requests) == [1, 2, 3, 4])
    }

    /// Three queues with as much as they can hold, and a storage that takes two at a time.
    @Test func fullStorage_servesAllQueuesAlike() throws {
        let disk = try Disk(queues: 3, inFlightLimit: 2)
        disk.fake.isHolding = true
        for queue in 0..<3 {
            for slot in 0..<5 { try disk.offerRead(queue, slot) }
            disk.guest.kick(queue)
        }
        #expect(disk.fake.inFlight == 2)
        disk.fake.isHolding = false
        var ends: [Int] = []
        for _ in 0..<20 {
            disk.guest.transport.serveEventSource(disk.fake.completionFD)
            for queue in 0..<3 { ends += try disk.guest.newUsed(queue).map { _ in queue } }
        }
        #expect(ends.count == 15 && disk.fake.maximumInFlight == 2)
        // Each queue has had its turn before the first has had all of its own.
        #expect(Set(ends.prefix(8)) == [0, 1, 2], "\(ends)")
    }

    @Test func queueThatTheDriverLeavesOut_isNotServed() throws {
        let disk = try Disk(queues: 3, leavingOut: [0, 2])
        try disk.offerRead(1, 0)
        for queue in 0..<3 { disk.guest.kick(queue) }
        #expect(try disk.guest.newUsed(1).count == 1)
        #expect(disk.guest.status.isLive)
    }

    @Test func queueThatIsStopped_waitsForItsOwnRequestsOnly() throws {
        let disk = try Disk(queues: 2)
        disk.fake.isHolding = true
        try disk.offerRead(0, 0)
        disk.guest.kick(0)
        disk.guest.write(.queueSelect, 1)
        disk.guest.write(.queueReady, 0)
        // Queue 0 goes on, queue 1 is not looked at any more.
        try disk.offerRead(1, 0)
        disk.guest.kick(1)
        disk.fake.release()
        disk.guest.serve()
        disk.guest.transport.serveEventSource(disk.fake.completionFD)
        #expect(try disk.guest.newUsed(0).count == 1)
        #expect(try disk.guest.newUsed(1).isEmpty)
    }

    @Test func class2_brokenRing_needsReset_andTheOtherQueuesStop() throws {
        let disk = try Disk(queues: 2)
        try disk.guest.memory.store(UInt16(999), at: disk.guest.rings[1].available + 2)
        disk.guest.kick(1)
        #expect(disk.guest.status.contains(.needsReset))
        try disk.offerRead(0, 0)
        disk.guest.kick(0)
        #expect(try disk.guest.newUsed(0).isEmpty)
        try disk.guest.start()
        try disk.offerRead(0, 0)
        disk.guest.kick(0)
        #expect(try disk.guest.newUsed(0).count == 1)
    }

    /// A replaced disk: what every queue holds is the old one's.
    @Test func replacedStorage_finishesAllQueuesFirst() throws {
        let disk = try Disk(queues: 3, inFlightLimit: 2)
        for queue in 0..<3 { for slot in 0..<5 { try disk.offerRead(queue, slot) } }
        let other = try FakeStorage(sectors: 64)
        disk.guest.transport.update(VirtioBlock.self) { $0.replaceStorage(other) }
        for queue in 0..<3 { #expect(try disk.guest.newUsed(queue).count == 5) }
        #expect(disk.fake.started.count == 15 && other.started.isEmpty)
        #expect(disk.guest.config(0, 8) == 64 && disk.guest.config(34, 2) == 3)
    }

    @Test func mask_findsTheNextOneAround() {
        var mask = QueueMask()
        #expect(mask.isEmpty && mask.first(from: 0) == nil)
        for index in [0, 5, 31] { mask.insert(index) }
        #expect([0, 1, 5, 6, 31].map { mask.first(from: $0) } == [0, 5, 5, 31, 31])
        mask.remove(31)
        #expect(mask.first(from: 6) == 0 && mask.contains(5) && !mask.contains(31))
    }
}
