import AddressSpace
import Foundation
import Synchronization
import Testing
@testable import Virtio

/// A virtio memory device with a driver that means well.
@Suite struct MemoryTests {
    private let block = MemoryGuest.block

    @Test func configuration_isThatOfTheSpecification() throws {
        let guest = try MemoryGuest(blocks: 256, requested: 10, node: 3)
        let driver = guest.guest
        #expect(driver.read(.deviceID) == 24)
        #expect(driver.offeredFeatures & 3 == 3)
        #expect(driver.config(0, 8) == block)
        #expect(driver.config(8, 2) == 3)
        #expect(driver.config(10, 4) == 0)
        #expect(driver.config(16, 8) == MemoryGuest.base)
        #expect(driver.config(24, 8) == 256 * block)
        #expect(driver.config(32, 8) == 138 * block)
        #expect(driver.config(40, 8) == 0)
        #expect(driver.config(48, 8) == 10 * block)
        #expect(driver.config(56, 8) == 0)
        #expect(try MemoryGuest(access: .allowed).guest.offeredFeatures & 3 == 0)
    }

    @Test func blocksArePluggedAskedForAndUnplugged() throws {
        let guest = try MemoryGuest()
        #expect(try guest.state(0, 64) == .state(1))
        #expect(try guest.plug(3, 5) == .acknowledged)
        #expect(guest.device.plugged == 5 * block)
        #expect(guest.fake.shown.count == 5)
        #expect(try guest.state(3, 5) == .state(0))
        #expect(try guest.state(2, 2) == .state(2))
        #expect(try guest.state(8, 56) == .state(1))
        guest.fake.touchAll()
        #expect(try guest.unplug(4, 2) == .acknowledged)
        #expect(guest.device.plugged == 3 * block)
        #expect(guest.fake.resident == [3, 6, 7])
        #expect(guest.fake.shown.count == 3)
        #expect(try guest.unplugAll() == .acknowledged)
        #expect(guest.device.plugged == 0)
        #expect(guest.fake.shown.isEmpty && guest.fake.resident.isEmpty)
        #expect(guest.guest.read(.interruptStatus) == VirtioInterrupt.usedBuffer)
    }

    @Test func theGuestGetsNoMoreThanItIsAskedToHave() throws {
        let guest = try MemoryGuest(requested: 4)
        #expect(try guest.plug(0, 5) == .refused)
        #expect(try guest.plug(0, 3) == .acknowledged)
        #expect(try guest.plug(10, 2) == .refused)
        #expect(try guest.plug(10, 1) == .acknowledged)
        #expect(try guest.plug(20, 1) == .refused)
        try guest.ask(for: 2)
        #expect(try guest.plug(20, 1) == .refused)
        #expect(guest.device.plugged == 4 * block)
        #expect(guest.fake.shown.count == 4)
    }

    @Test func aNewSizeIsTold_andTheUsableRegionGrowsButDoesNotShrink() throws {
        let guest = try MemoryGuest(blocks: 512, requested: 0)
        #expect(guest.device.usable == 0)
        #expect(try guest.plug(0, 1) == .error)
        guest.guest.write(.interruptAcknowledge, 3)
        let generation = guest.guest.read(.configGeneration)
        try guest.ask(for: 10)
        #expect(guest.guest.read(.interruptStatus) == VirtioInterrupt.configurationChange)
        #expect(guest.guest.read(.configGeneration) != generation)
        #expect(guest.device.requested == 10 * block)
        #expect(guest.device.usable == 138 * block)
        try guest.ask(for: 500)
        #expect(guest.device.usable == 512 * block)
        try guest.ask(for: 1)
        #expect(guest.device.usable == 512 * block)
        // The driver has given everything back: only now.
        #expect(try guest.unplugAll() == .acknowledged)
        #expect(guest.device.usable == 129 * block)
        #expect(throws: MemoryDeviceError.self) { try guest.ask(for: 513) }
        #expect(throws: MemoryDeviceError.self) {
            try guest.guest.transport.update(VirtioMem.self) { device throws(MemoryDeviceError) in try device.request(block + 1) }
        }
        #expect(guest.device.requested == block)
    }

    @Test func theUsableRegionIsAMultipleOfLargeBlocks() throws {
        let fake = FakeMemory(size: 4 << 30)
        let guest = try MemoryGuest(requested: 512, blockSize: 1 << 30, fake: fake)
        #expect(guest.device.usable == 2 << 30)
        #expect(try guest.request(0, MemoryGuest.base + (2 << 30), 1) == .error)
        #expect(try guest.request(0, MemoryGuest.base + (1 << 30), 1) == .acknowledged)
    }

    @Test func sizesAreToldWhenTheyChange() throws {
        let seen = Mutex<[UInt64]>([])
        var options = VirtioMem.Options(id: "mem0", base: 1 << 32)
        options.requestedSize = 8 << 20
        let guest = try QueueGuest(try VirtioMem(options, memory: FakeMemory(size: 64 << 20)) { size in seen.withLock { $0.append(size) } })
        try guest.start()
        for (type, count) in [(0, 3), (0, 3), (3, 1), (1, 1), (2, 0)] as [(UInt16, UInt16)] {
            try guest.memory.fill(at: QueueGuest.data, count: 24)
            try guest.memory.store(type, at: QueueGuest.data)
            try guest.memory.store(UInt64(1 << 32), at: QueueGuest.data + 8)
            try guest.memory.store(count, at: QueueGuest.data + 16)
            try guest.offer(0, [.readable(QueueGuest.data, 24), .writable(QueueGuest.data + 64, 10)])
            guest.kick(0)
        }
        #expect(seen.withLock { $0 } == [6 << 20, 4 << 20, 0])
    }

    @Test func blocksStayPluggedWhenTheDeviceIsReset() throws {
        let guest = try MemoryGuest()
        #expect(try guest.plug(7, 2) == .acknowledged)
        guest.fake.touchAll()
        guest.guest.write(.status, 0)
        #expect(guest.fake.resident == [7, 8])
        try guest.guest.start()
        #expect(guest.device.plugged == 2 * block)
        #expect(try guest.state(7, 2) == .state(0))
        #expect(try guest.unplug(7, 2) == .acknowledged)
    }

    @Test func aChunkOfSeveralBlocksStaysUntilTheLastIsUnplugged() throws {
        // 512 blocks: two a chunk.
        let guest = try MemoryGuest(blocks: 512, requested: 512)
        #expect(try guest.plug(3, 2) == .acknowledged)
        #expect(guest.fake.shown == [2 * block: 4 * block, 4 * block: 6 * block])
        #expect(try guest.plug(2, 1) == .acknowledged)
        #expect(try guest.unplug(3, 1) == .acknowledged)
        #expect(guest.fake.shown.count == 2)
        #expect(try guest.unplug(2, 1) == .acknowledged)
        #expect(guest.fake.shown == [4 * block: 6 * block])
        #expect(try guest.unplug(4, 1) == .acknowledged)
        #expect(guest.fake.shown.isEmpty)
    }

    @Test func largeRequests_giveOthersTheirTurn() throws {
        let guest = try MemoryGuest(blocks: 4096, requested: 4096)
        #expect(try guest.plug(0, 4096) == .acknowledged)
        guest.fake.touchAll()
        try guest.offer(1, MemoryGuest.base, 4096)
        guest.guest.write(.queueNotify, 0)
        var turns = 0
        while try guest.answer() == nil, turns < 1000 {
            guest.guest.turn()
            turns += 1
        }
        #expect((128...130).contains(turns))
        #expect(guest.fake.largestPiece <= VirtioMem.slice)
        #expect(guest.fake.resident.isEmpty && guest.device.plugged == 0)
    }

    @Test func preallocatedMemory_isTakenWhenItIsPlugged() throws {
        let guest = try MemoryGuest(fake: FakeMemory(size: 128 << 20, isPreallocated: true))
        #expect(try guest.plug(1, 40) == .acknowledged)
        #expect(guest.fake.resident == Set(1...40))
    }

    @Test func memoryInTheGuestsAddressSpace_comesAndGoes() throws {
        let host = try HostMemory.anonymous(size: 64 << 20, options: .shared)
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let window = MemoryWindow(host, name: "mem0", base: 1 << 32, space: space)
        let first: UInt64 = 1 << 32
        #expect(space.memory.writableMappings().map(\.size) == [64 << 20])
        #expect(space.memory.ramRanges().isEmpty)
        #expect(window.show([0..<2 << 20, 4 << 20..<6 << 20]))
        #expect(space.flatRanges().map(\.base) == [first, first + (4 << 20)])
        try space.memory.fill(at: first, count: 2 << 20, byte: 0x55)
        #expect(window.show([2 << 20..<4 << 20]))
        // Neighbours are slots of their own, and one piece for devices.
        #expect(space.flatRanges().count == 3)
        #expect(space.memory.ramRanges().map(\.size) == [6 << 20])
        #expect(window.hide([0..<2 << 20]))
        #expect(!space.memory.isRAM(at: first, count: 1))
        #expect(space.read(at: first, size: 8) == nil)
        #expect(window.discard(0..<2 << 20))
        #expect(window.show([0..<2 << 20]))
        #expect(try space.memory.load(UInt64.self, at: first) == 0)
        #expect(space.memory.writableMappings().map(\.size) == [64 << 20])
        #expect(!window.show([64 << 20..<66 << 20]))
        #expect(space.flatRanges().count == 3)
    }

    @Test func devicesThatCannotBe_areRefused() throws {
        func make(size: UInt64 = 64 << 20, base: UInt64 = 1 << 32, block: UInt64? = nil, requested: UInt64 = 0) throws {
            var options = VirtioMem.Options(id: "m", base: base)
            options.blockSize = block
            options.requestedSize = requested
            _ = try VirtioMem(options, memory: FakeMemory(size: size))
        }
        try make()
        func expect(_ reason: MemoryDeviceError.Reason, _ body: () throws -> Void) { #expect(throws: MemoryDeviceError(device: "m", reason), performing: body) }
        for block in [0, 1, 4096, 1 << 20, 3 << 20, (2 << 20) + 1, .max] as [UInt64] { expect(.badBlockSize(block)) { try make(block: block) } }
        let huge = FakeMemory(size: 4 << 30)
        huge.pageSize = 1 << 30
        var options = VirtioMem.Options(id: "m", base: 1 << 32)
        #expect(try VirtioMem(options, memory: huge).blockSize == 1 << 30)
        options.blockSize = 2 << 20
        expect(.blockWithinPage(blockSize: 2 << 20, pageSize: 1 << 30)) { _ = try VirtioMem(options, memory: huge) }
        expect(.misaligned(size: 0, blockSize: 2 << 20)) { try make(size: 0) }
        expect(.misaligned(size: 3 << 20, blockSize: 2 << 20)) { try make(size: 3 << 20) }
        expect(.misaligned(size: 64 << 20, blockSize: 128 << 20)) { try make(block: 128 << 20) }
        expect(.misplaced(address: 1 << 20, blockSize: 2 << 20)) { try make(base: 1 << 20) }
        expect(.tooHigh(address: .max << 25)) { try make(base: .max << 25) }
        expect(.unevenRequest(1 << 20, blockSize: 2 << 20)) { try make(requested: 1 << 20) }
        expect(.requestTooLarge(66 << 20, size: 64 << 20)) { try make(requested: 66 << 20) }
        #expect(
            MemoryDeviceError(device: "m", .unevenRequest(5, blockSize: 2 << 20)).description
                == "memory device 'm': the requested size 5 is not a multiple of the block size, 2M")
    }
}
