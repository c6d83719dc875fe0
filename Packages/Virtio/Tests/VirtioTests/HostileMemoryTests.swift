import AddressSpace
import Testing
@testable import Virtio

/// A guest that asks a virtio memory device for what it must not have. Numbers are bug classes, as in `HostileQueueTests`.
@Suite struct HostileMemoryTests {
    private let block = MemoryGuest.block

    @Test func class13_requestsOutsideOfTheRegion_misalignedOrEmpty_areErrors() throws {
        let guest = try MemoryGuest(blocks: 64, requested: 8)
        #expect(try guest.plug(8, 4) == .acknowledged)
        let base = MemoryGuest.base
        for type in [0, 1, 3] as [UInt16] {
            for (address, count) in [
                (base, 0), (base + 1, 1), (base + block - 1, 1), (base - block, 1), (base - block, 2), (base + 64 * block, 1), (base + 63 * block, 2), (base, 65),
                (base, .max), (base + block, .max), (0, 1), (0, .max), (.max, 1), (.max - block + 1, 1), (.max - block + 1, .max), (1 << 63, .max), (base + (1 << 48), 1),
            ] as [(UInt64, UInt16)] {
                #expect(try guest.request(type, address, count) == .error, "\(type) \(address) \(count)")
            }
        }
        for type in [4, 5, 255, 0x100, .max] as [UInt16] { #expect(try guest.request(type, base, 1) == .error) }
        #expect(guest.device.plugged == 4 * block)
        #expect(guest.fake.shown.count == 4)
        #expect(guest.guest.status.isLive)
    }

    @Test func blocksTwiceOrNever_areErrors() throws {
        let guest = try MemoryGuest()
        #expect(try guest.plug(4, 4) == .acknowledged)
        for (block, count) in [(4, 4), (4, 1), (7, 1), (0, 5), (7, 10), (0, 64)] as [(UInt64, UInt16)] { #expect(try guest.plug(block, count) == .error) }
        for (block, count) in [(0, 1), (3, 2), (7, 2), (0, 64), (8, 1)] as [(UInt64, UInt16)] { #expect(try guest.unplug(block, count) == .error) }
        #expect(guest.device.plugged == 4 * block)
        #expect(try guest.unplug(4, 4) == .acknowledged)
        #expect(try guest.unplug(4, 4) == .error)
        #expect(try guest.unplugAll() == .acknowledged)
        #expect(try guest.unplugAll() == .acknowledged)
    }

    @Test func class10_shortBuffers_comeBackAndNothingIsDone() throws {
        let guest = try MemoryGuest()
        let place = QueueGuest.data
        try guest.write(0, MemoryGuest.base, 1)
        for chain in [
            [.readable(place, 24)], [.readable(place, 23), .writable(place + 64, 10)], [.readable(place, 24), .writable(place + 64, 9)], [.writable(place + 64, 10)],
            [.readable(place, 0), .writable(place + 64, 0)],
        ] as [[Buffer]] {
            try guest.guest.offer(0, chain)
            guest.guest.kick(0)
            #expect(try guest.guest.newUsed(0) == [UsedEntry(id: 0, length: 0)])
        }
        #expect(guest.guest.transport.statistics.droppedRequests == 5)
        #expect(guest.device.plugged == 0 && guest.fake.calls == 0)
        // However it is cut, and longer than it need be.
        try guest.guest.offer(
            0, [.readable(place, 1), .readable(place + 1, 16), .readable(place + 17, 40), .writable(place + 64, 3), .writable(place + 67, 1), .writable(place + 68, 60)])
        guest.guest.kick(0)
        #expect(try guest.guest.newUsed(0) == [UsedEntry(id: 0, length: 10)])
        #expect(guest.device.plugged == block)
    }

    @Test func hostWithoutRoom_makesADeviceBusy_andNothingChanges() throws {
        let guest = try MemoryGuest()
        #expect(try guest.plug(0, 4) == .acknowledged)
        guest.fake.showFails = true
        #expect(try guest.plug(10, 4) == .busy)
        guest.fake.showFails = false
        guest.fake.hideFails = true
        #expect(try guest.unplug(0, 4) == .busy)
        #expect(try guest.unplugAll() == .busy)
        guest.fake.hideFails = false
        #expect(guest.device.plugged == 4 * block)
        #expect(try guest.plug(10, 4) == .acknowledged)
        #expect(guest.guest.transport.statistics.counters == [DeviceCounter("busy-responses", 3)])
    }

    @Test func hostWithoutPages_makesADeviceBusy_andKeepsNothing() throws {
        let fake = FakeMemory(size: 1 << 30, isPreallocated: true)
        let guest = try MemoryGuest(requested: 512, fake: fake)
        #expect(try guest.plug(0, 2) == .acknowledged)
        fake.supply = 100 << 20
        #expect(try guest.plug(3, 200) == .busy)
        #expect(guest.device.plugged == 2 * block)
        #expect(fake.resident == [0, 1])
        // 512 blocks: two a chunk.
        #expect(fake.shown == [0: 2 * block])
        fake.supply = .max
        #expect(try guest.plug(2, 200) == .acknowledged)
        #expect(guest.device.plugged == 202 * block)
    }

    @Test func hostThatKeepsPages_losesTheGuestNothing() throws {
        let guest = try MemoryGuest()
        #expect(try guest.plug(0, 4) == .acknowledged)
        guest.fake.discardFails = true
        #expect(try guest.unplug(0, 4) == .acknowledged)
        #expect(guest.fake.shown.isEmpty)
        #expect(guest.device.plugged == 0)
    }

    @Test(arguments: [false, true]) func class11_resetInTheMiddleOfARequest_leavesNoMemoryBehind(_ isPlug: Bool) throws {
        let fake = FakeMemory(size: 1 << 30, isPreallocated: true)
        let guest = try MemoryGuest(requested: 512, fake: fake)
        if !isPlug { #expect(try guest.plug(0, 400) == .acknowledged) }
        try guest.offer(isPlug ? 0 : 1, MemoryGuest.base, 400)
        guest.guest.write(.queueNotify, 0)
        guest.guest.turn()
        #expect(try guest.answer() == nil)
        guest.guest.write(.status, 0)
        try guest.guest.memory.fill(at: guest.guest.rings[0].used, count: 512, byte: 0x5a)
        guest.guest.serve()
        #expect(try guest.guest.bytes(guest.guest.rings[0].used, 512).allSatisfy { $0 == 0x5a })
        #expect(fake.resident.isEmpty && fake.shown.isEmpty)
        try guest.guest.start()
        #expect(guest.device.plugged == 0)
        #expect(try guest.plug(0, 512) == .acknowledged)
    }

    @Test func class11_queueTakenBackInTheMiddleOfARequest_isNotTouched() throws {
        let guest = try MemoryGuest(blocks: 4096, requested: 4096)
        #expect(try guest.plug(0, 4096) == .acknowledged)
        try guest.offer(2, 0, 0)
        guest.guest.write(.queueNotify, 0)
        guest.guest.turn()
        guest.guest.write(.queueSelect, 0)
        guest.guest.write(.queueReady, 0)
        try guest.guest.memory.fill(at: guest.guest.rings[0].used, count: 512, byte: 0x5a)
        guest.guest.serve()
        #expect(try guest.guest.bytes(guest.guest.rings[0].used, 512).allSatisfy { $0 == 0x5a })
        #expect(guest.fake.shown.isEmpty)
    }

    @Test func class28_aFloodOfRequests_takesSeveralTurns() throws {
        let guest = try MemoryGuest()
        try guest.guest.start(size: 128)
        try guest.write(3, MemoryGuest.base, 1)
        for head in 0..<64 as Range<UInt16> {
            try guest.guest.offer(0, head: 2 * head, [.readable(QueueGuest.data, 24), .writable(QueueGuest.data + 64, 10)])
        }
        // Once more each: as many as the ring holds.
        for head in 0..<64 as Range<UInt16> { try guest.guest.offer(0, 2 * head) }
        guest.guest.write(.queueNotify, 0)
        guest.guest.turn()
        #expect(try guest.guest.newUsed(0).count == VirtioMem.budget)
        guest.guest.serve()
        #expect(try guest.guest.newUsed(0).count == 128 - VirtioMem.budget)
    }

    @Test func driverThatMustKeepAway_andDoesNotSaySo_getsNothing() throws {
        let plain = VirtioFeature.version1
        #expect(try MemoryGuest(access: .forbidden, features: plain).plug(0, 1) == .error)
        #expect(try MemoryGuest(access: .forbidden).plug(0, 1) == .acknowledged)
        #expect(try MemoryGuest(access: .discouraged, features: plain).plug(0, 1) == .acknowledged)
    }

    /// Whatever the guest asks for, it has what the model says, the host has no page of what is unplugged, and no chunk without a plugged block is in sight.
    @Test(arguments: [(64, false), (512, false), (700, true)] as [(UInt64, Bool)])
    func class13_requestsAtRandom_neverGiveMoreThanTheModel(blocks: UInt64, isPreallocated: Bool) throws {
        let fake = FakeMemory(size: blocks * block, isPreallocated: isPreallocated)
        let guest = try MemoryGuest(requested: blocks / 2, fake: fake)
        var random = SeededGenerator(seed: blocks)
        var model: Set<UInt64> = []
        var requested = blocks / 2
        for _ in 0..<1500 {
            let first = random.next() % (blocks + 2)
            let count = random.next() % (random.next() % 4 == 0 ? blocks + 2 : 6)
            let range = first..<first + count
            let isInside = count > 0 && first + count <= guest.device.usable / block
            let isAllSet = range.allSatisfy(model.contains)
            let isAllClear = !range.contains(where: model.contains)
            switch random.next() % 16 {
            case 0..<6:
                let expected: MemoryGuest.Answer =
                    !isInside || !isAllClear ? .error : UInt64(model.count) + count > requested ? .refused : .acknowledged
                #expect(try guest.plug(first, UInt16(count)) == expected)
                if expected == .acknowledged { model.formUnion(range) }
            case 6..<11:
                #expect(try guest.unplug(first, UInt16(count)) == (isInside && isAllSet ? .acknowledged : .error))
                if isInside, isAllSet { model.subtract(range) }
            case 11, 12:
                #expect(try guest.state(first, UInt16(count)) == (isInside ? .state(isAllSet ? 0 : isAllClear ? 1 : 2) : .error))
            case 13 where random.next() % 8 == 0:
                #expect(try guest.unplugAll() == .acknowledged)
                model = []
            case 14 where random.next() % 4 == 0: try guest.guest.start()
            default:
                requested = random.next() % (blocks + 1)
                try guest.ask(for: requested)
            }
            fake.touchAll()
            #expect(guest.device.plugged == UInt64(model.count) * block)
            #expect(guest.device.usable <= blocks * block && guest.device.usable >= requested * block)
            let perChunk = UInt64(BlockGrid(base: 0, size: blocks * block, blockSize: block).chunkBlocks)
            let chunks = Set(model.map { $0 / perChunk })
            #expect(Set(fake.shown.keys) == Set(chunks.map { $0 * perChunk * block }))
            #expect(fake.resident.allSatisfy { chunks.contains($0 / perChunk) })
        }
    }
}
