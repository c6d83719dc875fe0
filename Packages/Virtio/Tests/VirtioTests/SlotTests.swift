import AddressSpace
import BlockBackend
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

extension Guest {
    /// As QMP device_add and device_del do.
    func plug(_ storage: (any BlockStorage)?, _ options: VirtioBlock.Options = .init()) {
        transport.update(VirtioBlock.self) { $0.replaceStorage(storage, options: options) }
        transport.configurationChanged()
    }

    /// As a driver reads it: again when the generation has moved.
    var capacity: UInt64 {
        while true {
            let generation = read(.configGeneration)
            let low = transport.read(offset: MMIORegister.config, size: 4), high = transport.read(offset: MMIORegister.config + 4, size: 4)
            if read(.configGeneration) == generation { return high << 32 | low }
        }
    }

    /// One request to whatever disk is in the slot; the status byte, 0xff when none was written.
    func ask(_ type: UInt32, sector: UInt64 = 0, _ data: [Buffer] = [], of storage: FakeStorage? = nil) throws -> UInt8 {
        try writeHeader(type, sector: sector)
        try memory.store(UInt8(0xff), at: Place.status)
        try writeTable(chain(data))
        try offer(0)
        transport.serveQueue(0)
        if let storage { while storage.inFlight > 0, !storage.isHolding { transport.serveEventSource(storage.completionFD) } }
        _ = try newUsed()
        return try memory.load(UInt8.self, at: Place.status)
    }

    /// The four words of a discard or write zeroes.
    func writeRange(sector: UInt64, count: UInt32) throws {
        try memory.store(sector, at: Place.data)
        try memory.store(count, at: Place.data + 8)
        try memory.store(UInt32(0), at: Place.data + 12)
    }
}

/// A slot that is filled, emptied and filled again while the guest runs.
@Suite struct SlotTests {
    private static let data: [Buffer] = [.writable(Guest.Place.data, 512)]
    private static let range: [Buffer] = [.readable(Guest.Place.data, 16)]

    @Test func emptySlot_hasNoCapacityAndFailsEachRequest() throws {
        let guest = try Guest(slotIsEmpty: true)
        #expect(try guest.start())
        #expect(guest.capacity == 0)
        for type in [RequestType.read, RequestType.write, RequestType.flush, RequestType.identify, RequestType.discard, RequestType.writeZeroes, 99] {
            #expect(try guest.ask(type, Self.data) == BlockStatus.ioError, "\(type)")
        }
        #expect(guest.transport.state.withLock { $0.device.eventSources } == [])
        // What makes no sense is given back as ever.
        try guest.writeTable([.readable(Guest.Place.header, 16)])
        try guest.offer(0)
        guest.transport.serveQueue(0)
        #expect(guest.transport.statistics.droppedRequests == 1)
    }

    @Test func emptySlot_takesNoMemoryForRequests() throws {
        let guest = try Guest(slotIsEmpty: true)
        try guest.start()
        for _ in 0..<100 { _ = try guest.ask(RequestType.read, Self.data) }
        func footprint() -> Int? { guest.transport.state.withLock { ($0.device as? VirtioBlock)?.slots.footprint } }
        #expect(footprint() == 0)
        let disk = try FakeStorage()
        guest.plug(disk)
        #expect(try guest.ask(RequestType.read, Self.data, of: disk) == BlockStatus.ok)
        #expect(try #require(footprint()) > 0)
        guest.plug(nil)
        #expect(footprint() == 0)
    }

    @Test func emptySlot_offersWhatAnyDiskMayNeed_andNotReadOnly() throws {
        let guest = try Guest(slotIsEmpty: true)
        let offered = guest.offeredFeatures
        for bit in [BlockFeature.flush, BlockFeature.segmentMaximum, BlockFeature.discard, BlockFeature.writeZeroes, VirtioFeature.indirectDescriptors, VirtioFeature.eventIndex] {
            #expect(offered & bit != 0, "\(bit)")
        }
        #expect(offered & BlockFeature.readOnly == 0)
        #expect(guest.transport.read(offset: MMIORegister.config + 44, size: 4) == 8, "discards of any disk are aligned to 4096 bytes")
    }

    @Test func pluggedDisk_isSeenByAConfigurationInterrupt_andServed() throws {
        let guest = try Guest(slotIsEmpty: true)
        try guest.start()
        let generation = guest.read(.configGeneration)
        let disk = try FakeStorage(sectors: 4096)
        guest.plug(disk, .init(serial: "one"))
        #expect(guest.read(.configGeneration) != generation)
        #expect(guest.read(.interruptStatus) == VirtioInterrupt.configurationChange)
        #expect(guest.capacity == 4096)
        #expect(try guest.ask(RequestType.read, sector: 5, Self.data, of: disk) == BlockStatus.ok)
        #expect(try guest.bytes(Guest.Place.data, 512) == Array(disk.bytes[2560..<3072]))
        #expect(try guest.ask(RequestType.identify, [.writable(Guest.Place.data, 20)], of: disk) == BlockStatus.ok)
        #expect(try guest.bytes(Guest.Place.data, 4) == Array("one\0".utf8))
        guest.plug(nil)
        #expect(guest.capacity == 0)
        #expect(try guest.ask(RequestType.read, Self.data) == BlockStatus.ioError)
        // The serial goes with the disk, and requests know the new disk's end.
        let small = try FakeStorage(sectors: 8)
        guest.plug(small, .init(serial: "two"))
        #expect(try guest.ask(RequestType.identify, [.writable(Guest.Place.data, 20)], of: small) == BlockStatus.ok)
        #expect(try guest.bytes(Guest.Place.data, 4) == Array("two\0".utf8))
        #expect(try guest.ask(RequestType.read, sector: 8, Self.data, of: small) == BlockStatus.ioError)
        #expect(try guest.ask(RequestType.read, sector: 7, Self.data, of: small) == BlockStatus.ok)
    }

    @Test func beforeTheDriverNegotiates_featuresFollowTheDisk() throws {
        let guest = try Guest(slotIsEmpty: true)
        guest.plug(try FakeStorage(isReadOnly: true))
        #expect(guest.offeredFeatures & BlockFeature.readOnly != 0)
        #expect(guest.offeredFeatures & BlockFeature.discard == 0)
        // A running driver keeps what it has; the next one gets what the disk has.
        try guest.start()
        guest.plug(try FakeStorage(), .init(offersDiscard: true))
        #expect(guest.offeredFeatures & BlockFeature.readOnly != 0)
        guest.write(.status, 0)
        #expect(guest.offeredFeatures & BlockFeature.readOnly == 0)
        #expect(guest.offeredFeatures & BlockFeature.discard != 0)
    }

    @Test func discardAndWriteZeroes_areServedWhereTheDiskHasThem() throws {
        let guest = try Guest(slotIsEmpty: true)
        try guest.start()
        let able = try FakeStorage(), unable = try FakeStorage(supportsDiscard: false), unasked = try FakeStorage(), locked = try FakeStorage(isReadOnly: true)
        let asked = VirtioBlock.Options(offersDiscard: true, offersWriteZeroes: true)
        let cases: [(FakeStorage, VirtioBlock.Options, UInt8)] = [
            (able, asked, BlockStatus.ok), (unable, asked, BlockStatus.unsupported), (unasked, .init(), BlockStatus.unsupported), (locked, asked, BlockStatus.ioError),
        ]
        for (disk, options, expected) in cases {
            guest.plug(disk, options)
            for type in [RequestType.discard, RequestType.writeZeroes] {
                try guest.writeRange(sector: 8, count: 8)
                #expect(try guest.ask(type, Self.range, of: disk) == expected)
            }
            #expect(disk.started.isEmpty == (expected != BlockStatus.ok))
        }
        // Not negotiated: never, whatever the disk has.
        let plain = try Guest(options: asked)
        try plain.start(features: VirtioFeature.version1)
        try plain.writeRange(sector: 8, count: 8)
        #expect(try plain.ask(RequestType.discard, Self.range, of: plain.fake) == BlockStatus.unsupported)
    }

    @Test func eventSource_followsTheDisk() throws {
        let guest = try Guest(slotIsEmpty: true)
        func sources() -> [Int32] { guest.transport.watching.withLock { $0.sources } }
        #expect(sources() == [])
        let disk = try FakeStorage()
        guest.plug(disk)
        #expect(sources() == [disk.completionFD])
        guest.plug(nil)
        #expect(sources() == [])
    }

    @Test func replacedDisk_isGivenUp() throws {
        let guest = try Guest(slotIsEmpty: true)
        try guest.start()
        weak var old: FakeStorage?
        do {
            let disk = try FakeStorage()
            old = disk
            guest.plug(disk)
            #expect(try guest.ask(RequestType.flush, of: disk) == BlockStatus.ok)
        }
        #expect(old != nil)
        guest.plug(nil)
        #expect(old == nil)
    }
}
