import AddressSpace
import LinuxSys
import Testing
@testable import Virtio

/// Guests that break the rules of section 5.5. Numbers are bug classes, as in `HostileQueueTests`.
@Suite struct HostileBalloonTests {
    private typealias Queue = BalloonTests.Queue
    private let page = BalloonTests.page, data = BalloonTests.data, list = BalloonTests.list, firstPage = BalloonTests.firstPage

    @Test func class18_pagesThatAreNoRAM_areCountedAndTheOthersGo() throws {
        let (guest, _) = try BalloonTests.guest()
        let end = UInt32(QueueGuest.ramSize / page)
        // Behind the end, at the highest address, registers, and one that an overflow of 32 bits would bring back into RAM.
        let bad = [end, .max, 0xf0100, firstPage | 1 << 31, firstPage | 1 << 20]
        try BalloonTests.send(guest, Queue.inflate, bad + [firstPage + 1] + bad)
        try BalloonTests.expectAnswer(guest, Queue.inflate)
        #expect(try BalloonTests.filled(guest, 3) == [true, false, true])
        #expect(guest.transport.statistics.droppedRequests == UInt64(bad.count * 2))
        #expect(guest.status.isLive)
    }

    @Test func class18_readOnlyMemory_isNotTaken() throws {
        let (guest, _) = try BalloonTests.guest()
        let rom = try HostMemory.anonymous(size: page)
        try guest.space.root.add(try Region.ram(name: "rom", size: page, memory: rom, readOnly: true), at: 64 << 20)
        try BalloonTests.send(guest, Queue.inflate, [UInt32((64 << 20) / page)])
        try BalloonTests.expectAnswer(guest, Queue.inflate)
        #expect(guest.transport.statistics.droppedRequests == 1)
    }

    @Test func samePageManyTimes_isOnePage() throws {
        let (guest, _) = try BalloonTests.guest()
        try BalloonTests.send(guest, Queue.inflate, [UInt32](repeating: firstPage + 1, count: 1000))
        try BalloonTests.expectAnswer(guest, Queue.inflate)
        #expect(try BalloonTests.filled(guest, 3) == [true, false, true])
        #expect(guest.transport.statistics.droppedRequests == 0)
    }

    @Test func pagesThatNeverWereInTheBalloon_comeOut() throws {
        let (guest, _) = try BalloonTests.guest()
        try BalloonTests.send(guest, Queue.deflate, [firstPage, .max, firstPage])
        try BalloonTests.expectAnswer(guest, Queue.deflate)
        #expect(try BalloonTests.filled(guest, 1) == [true])
    }

    @Test func class10_requestsOfNothing_comeBack() throws {
        let (guest, _) = try BalloonTests.guest(.init(reportsFreePages: true))
        let nothing: [(Int, Buffer)] = [
            (Queue.inflate, .readable(list, 3)), (Queue.inflate, .writable(data, 4096)), (Queue.inflate, .readable(list, 0)), (Queue.deflate, .readable(list, 0)),
            (Queue.reporting, .readable(data, 4096)), (Queue.reporting, .writable(data, 0)),
        ]
        for (queue, buffer) in nothing {
            try guest.offer(queue, [buffer])
            guest.kick(queue)
            try BalloonTests.expectAnswer(guest, queue)
        }
        #expect(guest.transport.statistics.droppedRequests == UInt64(nothing.count))
        #expect(try BalloonTests.filled(guest, 1) == [true])
    }

    // MARK: Floods

    @Test func class28_longLists_takeSeveralTurns() throws {
        let (guest, _) = try BalloonTests.guest()
        for index in 0..<256 as Range<UInt64> { try guest.memory.store(firstPage + UInt32(index), at: list + index * 4) }
        // 24 times the same 256 numbers, and then one more.
        try guest.memory.store(firstPage + 300, at: list + 1024)
        try guest.offer(Queue.inflate, [Buffer](repeating: .readable(list, 1024), count: 24) + [.readable(list + 1024, 4)])
        guest.write(.queueNotify, UInt32(Queue.inflate))
        var turns = 0
        while turns < 100, try guest.newUsed(Queue.inflate).isEmpty {
            guest.turn()
            turns += 1
        }
        #expect((6...8).contains(turns), "\(turns)")
        #expect(try BalloonTests.filled(guest, 302) == [Bool](repeating: false, count: 256) + (256..<302).map { $0 != 300 })
    }

    @Test func class28_queueFullOfDeflations_takesSeveralTurns() throws {
        let (guest, _) = try BalloonTests.guest()
        for head in 0..<128 as Range<UInt16> { try guest.offer(Queue.deflate, head: head, [.readable(list, 4)]) }
        guest.write(.queueNotify, UInt32(Queue.deflate))
        guest.turn()
        #expect(try (1..<128).contains(guest.newUsed(Queue.deflate).count))
        guest.serve()
        guest.write(.queueNotify, UInt32(Queue.deflate))
        guest.serve()
        #expect(guest.rings[Queue.deflate].seenUsed > 0)
        _ = try guest.newUsed(Queue.deflate)
        #expect(guest.rings[Queue.deflate].seenUsed == 128)
    }

    @Test func class28_largeReports_takeSeveralTurns() throws {
        let (guest, _) = try BalloonTests.guest(.init(reportsFreePages: true))
        // The same 2 MiB 100 times over.
        try guest.offer(Queue.reporting, [Buffer](repeating: .writable(data, 2 << 20), count: 100))
        guest.write(.queueNotify, UInt32(Queue.reporting))
        var turns = 0
        while turns < 100, try guest.newUsed(Queue.reporting).isEmpty {
            guest.turn()
            turns += 1
        }
        #expect((12...15).contains(turns), "\(turns)")
        #expect(try BalloonTests.filled(guest, 512).allSatisfy { !$0 })
    }

    @Test func class4_listThatChangesBetweenTurns_ends() throws {
        let (guest, _) = try BalloonTests.guest()
        for index in 0..<256 as Range<UInt64> { try guest.memory.store(firstPage + UInt32(index), at: list + index * 4) }
        try guest.offer(Queue.inflate, [Buffer](repeating: .readable(list, 1024), count: 100))
        guest.write(.queueNotify, UInt32(Queue.inflate))
        guest.turn()
        #expect(try guest.newUsed(Queue.inflate).isEmpty)
        // Shorter than what was seen of it.
        try guest.writeTable([.readable(list, 8)], at: guest.rings[Queue.inflate].descriptors)
        guest.serve()
        try BalloonTests.expectAnswer(guest, Queue.inflate)
        // The next list starts at its beginning.
        try BalloonTests.send(guest, Queue.inflate, [firstPage + 400])
        try BalloonTests.expectAnswer(guest, Queue.inflate)
        #expect(try BalloonTests.filled(guest, 402)[400] == false)
    }

    @Test func class11_resetInTheMiddleOfALongList_touchesNothingAfterwards() throws {
        let (guest, _) = try BalloonTests.guest()
        for index in 0..<256 as Range<UInt64> { try guest.memory.store(firstPage + UInt32(index), at: list + index * 4) }
        try guest.offer(Queue.inflate, [Buffer](repeating: .readable(list, 1024), count: 100))
        guest.write(.queueNotify, UInt32(Queue.inflate))
        guest.turn()
        guest.write(.status, 0)
        try guest.memory.fill(at: data, count: 2 << 20, byte: 0x55)
        guest.serve()
        #expect(try BalloonTests.filled(guest, 256).allSatisfy { $0 })
        try guest.start(size: 128)
        try BalloonTests.send(guest, Queue.inflate, [firstPage, firstPage + 2])
        try BalloonTests.expectAnswer(guest, Queue.inflate)
        #expect(try BalloonTests.filled(guest, 3) == [false, true, false])
    }

    /// The guest loses its rings, and nobody else anything.
    @Test func pagesOfTheRingsThemselves_costTheGuestItsQueue() throws {
        let (guest, _) = try BalloonTests.guest(.init(reportsFreePages: true))
        let rings = guest.rings[0].base / page
        try BalloonTests.send(guest, Queue.inflate, (0..<UInt32(5 * 4)).map { UInt32(rings) + $0 })
        for queue in guest.rings.indices { guest.kick(queue) }
        try guest.start(size: 128)
        try BalloonTests.send(guest, Queue.inflate, [firstPage])
        try BalloonTests.expectAnswer(guest, Queue.inflate)
    }

    // MARK: Reports

    @Test func class18_reportsOutsideOfRAM_needReset() throws {
        let end = QueueGuest.ramSize
        for bad in [Buffer.writable(end, 4096), .writable(end - 4096, 8192), .writable(.max - 4095, 4096), .writable(0xf010_0000, 4096)] {
            let (guest, _) = try BalloonTests.guest(.init(reportsFreePages: true))
            try guest.offer(Queue.reporting, [.writable(data, 4096), bad])
            guest.kick(Queue.reporting)
            #expect(guest.status.contains(.needsReset))
            // A chain is checked whole before anything is done.
            #expect(try BalloonTests.filled(guest, 1) == [true])
        }
    }

    @Test func partsOfPages_areNotTaken() throws {
        let (guest, _) = try BalloonTests.guest(.init(reportsFreePages: true))
        try guest.offer(Queue.reporting, [.writable(data + 1, 4096), .writable(data + 2 * page, 4095), .writable(data + 4 * page - 8, 4096 + 16)])
        guest.kick(Queue.reporting)
        try BalloonTests.expectAnswer(guest, Queue.reporting)
        #expect(try BalloonTests.filled(guest, 6) == [true, true, true, true, false, true])
    }

    // MARK: Statistics

    @Test func class7_statisticsOfOddLengths_areReadAsFarAsTheyGo() throws {
        // Length of the buffer, and how many of the entries count. The class of Firecracker PR 5794.
        for (length, count) in [(0, 0), (1, 0), (9, 0), (10, 1), (11, 1), (19, 1), (25, 2), (320, 32), (321, 32), (4 << 20, 32)] as [(UInt32, Int)] {
            let (guest, host) = try BalloonTests.guest()
            // The value tells the entry.
            _ = try BalloonStatisticsTests.write(guest, (0..<1000).map { (3, $0) })
            try guest.offer(Queue.statistics, [.readable(data, length)])
            guest.kick(Queue.statistics)
            #expect(host.statistics.values[.minorFaults] == (count == 0 ? nil : UInt64(count - 1)), "\(length)")
            #expect((host.statistics.lastUpdate == 0) == (count == 0))
            #expect(guest.status.isLive)
        }
    }

    @Test func unknownTags_areLeftOut() throws {
        let (guest, host) = try BalloonTests.guest()
        let length = try BalloonStatisticsTests.write(guest, [(10, 1), (.max, 2), (4, 3), (0x8004, 4)])
        try guest.offer(Queue.statistics, [.readable(data, 7), .readable(data + 7, length - 7)])
        guest.kick(Queue.statistics)
        #expect(host.statistics.values[.freeMemory] == 3)
        #expect(BalloonStatistics.Kind.allCases.count { host.statistics.values[$0] != nil } == 1)
    }

    @Test func class28_floodOfStatistics_isServedAtTheHostsPace() throws {
        let (guest, host) = try BalloonTests.guest()
        for head in 0..<100 as Range<UInt16> { try guest.offer(Queue.statistics, head: head, [.readable(data, 10)]) }
        for _ in 0..<100 { guest.kick(Queue.statistics) }
        #expect(try guest.newUsed(Queue.statistics).isEmpty)
        host.pollingInterval = 1
        let end = Clock.monotonicNanoseconds() + 10_000_000_000
        var used: [UsedEntry] = []
        while used.isEmpty, Clock.monotonicNanoseconds() < end {
            guest.serve()
            used = try guest.newUsed(Queue.statistics)
            Clock.sleep(nanoseconds: 5_000_000)
        }
        #expect(used == [UsedEntry(id: 0, length: 0)])
    }

    @Test func class11_heldStatistics_areForgottenWithTheQueue() throws {
        for fails in [false, true] {
            let (guest, host) = try BalloonTests.guest()
            try guest.offer(Queue.statistics, [.readable(data, 10)])
            guest.kick(Queue.statistics)
            if fails { guest.write(.status, 0) } else {
                guest.write(.queueSelect, UInt32(Queue.statistics))
                guest.write(.queueReady, 0)
            }
            let before = try guest.bytes(guest.rings[Queue.statistics].used, 4096)
            host.pollingInterval = 1
            Clock.sleep(nanoseconds: 1_100_000_000)
            guest.serve()
            #expect(try guest.bytes(guest.rings[Queue.statistics].used, 4096) == before)
        }
    }

    // MARK: Configuration space

    @Test func driverThatLiesAboutItsSize_isTakenAtMostAtAllItHas() throws {
        let (guest, host) = try BalloonTests.guest()
        for pages in [UInt64(UInt32.max), QueueGuest.ramSize / page + 1, 1 << 31] {
            guest.transport.write(offset: MMIORegister.config + 4, size: 4, value: pages)
            #expect(host.actualSize == 0)
        }
        // The others are the host's, or no fields.
        for (offset, size) in [(0, 4), (8, 4), (4, 1), (4, 2), (4, 8), (5, 4), (2, 4), (12, 4), (16, 4)] as [(UInt64, Int)] {
            guest.transport.write(offset: MMIORegister.config + offset, size: size, value: 7)
        }
        #expect(guest.config(0, 4) == 0 && guest.config(4, 4) == 1 << 31 && guest.config(8, 8) == 0 && guest.config(16, 8) == 0)
    }

    // MARK: Parts

    @Test func runs_areWhatASetWouldSay() {
        var random = SeededGenerator(seed: 7)
        for round in 0..<200 {
            var runs = PageRuns(capacity: 256)
            var pages: Set<UInt64> = []
            let spread: UInt64 = round % 2 == 0 ? 300 : 40
            while !runs.isFull, pages.count < Int(spread) - 5 {
                let page = 1000 + random.next() % spread
                runs.insert(page)
                pages.insert(page)
            }
            #expect(runs.runs.allSatisfy { $0.first < $0.end })
            #expect(zip(runs.runs, runs.runs.dropFirst()).allSatisfy { $0.end < $1.first })
            #expect(runs.runs.flatMap { Array($0.first..<$0.end) } == pages.sorted())
            runs.removeAll()
            #expect(runs.runs.isEmpty)
        }
    }
}
