import AddressSpace
import BlockBackend
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Disks that come and go under a guest that does what it likes.
@Suite struct HostileSlotTests {
    private static let read: [Buffer] = [.writable(Guest.Place.data, 512)]

    /// A queue full of writes of one sector each, all of the same content. Served up to what the storage takes.
    private func offerWrites(_ guest: Guest, count: Int, byte: UInt8) throws {
        try guest.writeHeader(RequestType.write, sector: 3)
        try guest.fill(Guest.Place.data, [UInt8](repeating: byte, count: 512))
        for index in 0..<count {
            try guest.writeTable(
                [.readable(Guest.Place.header, 16), .readable(Guest.Place.data, 512), .writable(Guest.Place.status, 1)], first: index * 3)
            try guest.offer(UInt16(index * 3))
        }
    }

    @Test func class11_replacementDuringInFlightIO_completesItOnTheOldDiskFirst() throws {
        let old = try FakeStorage(inFlightLimit: 4), new = try FakeStorage()
        let guest = try Guest(old)
        try guest.start()
        old.isHolding = true
        // 4 in flight, 36 waiting in the queue.
        try offerWrites(guest, count: 40, byte: 0x5a)
        guest.transport.serveQueue(0)
        #expect(old.inFlight == 4)
        let before = new.bytes
        guest.plug(new)
        #expect(old.inFlight == 0)
        let used = try guest.newUsed()
        #expect(used.count == 40)
        #expect(Set(used.map(\.id)).count == 40)
        #expect(try guest.memory.load(UInt8.self, at: Guest.Place.status) == BlockStatus.ok)
        #expect(old.bytes[1536..<2048].allSatisfy { $0 == 0x5a })
        // What was meant for the old disk has not reached the new one.
        #expect(new.bytes == before && new.started.isEmpty)
        // A late wake-up for the old disk's descriptor.
        guest.transport.serveEventSource(old.completionFD)
        #expect(try guest.newUsed() == [])
        #expect(try guest.ask(RequestType.read, Self.read, of: new) == BlockStatus.ok)
    }

    @Test func class11_removalDuringInFlightIO_answersEachRequestOnce() throws {
        let old = try FakeStorage(inFlightLimit: 2)
        let guest = try Guest(old)
        // Write-through: each write is followed by a flush, also while the disk is on its way out.
        try guest.start(features: VirtioFeature.version1)
        old.isHolding = true
        try offerWrites(guest, count: 30, byte: 1)
        guest.transport.serveQueue(0)
        guest.plug(nil)
        #expect(try guest.newUsed().count == 30)
        #expect(old.started.count { $0 == .flush } == 30)
        #expect(try guest.ask(RequestType.read, Self.read) == BlockStatus.ioError)
    }

    @Test func class12_readOnlyDiskInASlotNegotiatedWritable_refusesWrites() throws {
        let guest = try Guest()
        try guest.start()
        #expect(try guest.ask(RequestType.write, [.readable(Guest.Place.data, 512)], of: guest.fake) == BlockStatus.ok)
        let locked = try FakeStorage(isReadOnly: true)
        guest.plug(locked, .init(offersDiscard: true, offersWriteZeroes: true))
        let before = locked.bytes
        #expect(try guest.ask(RequestType.write, [.readable(Guest.Place.data, 512)], of: locked) == BlockStatus.ioError)
        #expect(try guest.ask(RequestType.read, Self.read, of: locked) == BlockStatus.ok)
        #expect(locked.bytes == before && locked.started == [.read])
    }

    /// A guest that queues without end while its disk is taken away: the replacement ends after one queue full.
    @Test func class28_guestThatRefillsItsQueue_doesNotHoldUpTheReplacement() throws {
        let old = try RefillingSlotStorage()
        let guest = try Guest(over: old)
        try guest.start()
        try guest.writeHeader(RequestType.flush, sector: 0)
        try guest.writeTable(guest.chain([]))
        old.guest = guest
        try guest.offer(0)
        guest.plug(nil)
        old.guest = nil
        #expect(old.served <= Int(guest.queueSize) + 1)
        // What came too late is the empty slot's to answer.
        guest.transport.serveQueue(0)
        let used = try guest.newUsed()
        #expect(used.count > old.served)
        #expect(try guest.memory.load(UInt8.self, at: Guest.Place.status) == BlockStatus.ioError)
    }

    /// A chain that breaks the rules, queued when the disk is replaced: the device asks for a reset, as it does without a replacement.
    @Test func class10_brokenQueueDuringReplacement_needsReset() throws {
        let guest = try Guest()
        try guest.start()
        try guest.memory.store(UInt16(30000), at: Guest.Place.available + 2)
        guest.plug(try FakeStorage())
        guest.transport.serveResetRequest()
        #expect(guest.status.contains(.needsReset))
        #expect(guest.transport.statistics.resetsRequested == 1)
        guest.plug(nil)
        let disk = try FakeStorage()
        guest.plug(disk)
        #expect(try guest.start())
        #expect(try guest.ask(RequestType.read, Self.read, of: disk) == BlockStatus.ok)
    }

    /// In every state of the driver's initialization, and after each way of stopping.
    @Test func class1_replacementInEveryState_leavesStatusAndQueuesAlone() throws {
        let ways: [(Guest) throws -> Void] = [
            { $0.write(.status, 0) }, { $0.write(.status, 1) },
            { guest in for value in [1, 3] as [UInt32] { guest.write(.status, value) } }, { $0.negotiate() },
            { guest in
                guest.negotiate()
                guest.setUpQueue(QueueConfiguration(size: 16, descriptorTable: 0x1000, availableRing: 0x4000, usedRing: 0x6000))
            }, { try $0.start() },
            { guest in
                try guest.start()
                guest.write(.queueReady, 0)
            },
            { guest in
                try guest.start()
                guest.write(.status, 0x8f)
            },
            { guest in
                guest.negotiate()
                guest.setUpQueue(QueueConfiguration(size: 16, descriptorTable: 0x1001, availableRing: 0x4000, usedRing: 0x6000))
                guest.write(.status, 15)
            },
        ]
        for (index, way) in ways.enumerated() {
            for plugs in [[false], [true], [true, false], [false, true, false, true]] {
                let guest = try Guest()
                try way(guest)
                let before = guest.snapshot()
                for isFull in plugs { guest.plug(isFull ? try FakeStorage(sectors: 16) : nil) }
                #expect(guest.snapshot() == before, "\(index)")
                #expect(guest.capacity == (plugs.last == true ? 16 : 0))
                let disk = try FakeStorage()
                guest.plug(disk)
                #expect(try guest.start())
                #expect(try guest.ask(RequestType.read, Self.read, of: disk) == BlockStatus.ok)
            }
        }
    }

    /// Indices, notification wishes and interrupt wishes survive: a driver that is in the middle of something notices nothing but the capacity.
    @Test func queueState_isUnchangedOverReplacements() throws {
        for features in [nil, VirtioFeature.version1, VirtioFeature.version1 | VirtioFeature.eventIndex] as [UInt64?] {
            let guest = try Guest()
            try guest.start(features: features, queueSize: 8)
            var random = SeededGenerator(seed: features ?? 7)
            var disk: FakeStorage? = guest.fake
            for _ in 0..<1000 {
                switch random.next() % 3 {
                case 0:
                    let before = guest.snapshot()
                    disk = random.next() % 2 == 0 ? nil : try FakeStorage(sectors: 4 + random.next() % 4, isReadOnly: random.next() % 4 == 0)
                    guest.plug(disk)
                    #expect(guest.snapshot() == before)
                default:
                    let sector = random.next() % 9
                    let expected = disk.map { sector < $0.sectorCount ? BlockStatus.ok : BlockStatus.ioError } ?? BlockStatus.ioError
                    #expect(try guest.ask(RequestType.read, sector: sector, Self.read, of: disk) == expected)
                }
            }
            // The ring has gone round many times, and each head came back once: `ask` offers one at a time and the index agrees.
            #expect(try guest.memory.loadAcquire16(at: Guest.Place.used + 2) == guest.availableIndex)
        }
    }

    @Test func class19_thousandReplacements_leakNoDescriptorsAndNoMemory() throws {
        let guest = try Guest(slotIsEmpty: true)
        try guest.start()
        guest.fake.records = false
        let probe = try EventFD().raw
        for round in 0..<1000 {
            let disk = try FakeStorage(sectors: 8)
            disk.isHolding = round % 3 == 0
            guest.plug(disk, .init(serial: "\(round)"))
            try offerWrites(guest, count: round % 5, byte: UInt8(truncatingIfNeeded: round))
            guest.transport.serveQueue(0)
            guest.plug(round % 2 == 0 ? nil : try FakeStorage(sectors: 16))
            #expect(try guest.newUsed().count == round % 5)
        }
        guest.plug(nil)
        #expect(guest.read(.configGeneration) >= 2000)
        // Descriptors are handed out lowest first: were some lost, this one would be far higher. Other tests open a few meanwhile.
        #expect(try EventFD().raw < probe + 500)
    }

    /// Replacements on one thread (the event loop's), resets and register accesses on another (a vCPU's), queue service on a third.
    @Test func class11_replacementDuringResets_neverTouchesAStoppedQueue() throws {
        let guest = try Guest(slotIsEmpty: true)
        let transport = guest.transport
        let isDone = Flag()
        let plugger = try OSThread.start(name: "plugger") {
            var round = 0
            while !isDone.value {
                round += 1
                let disk = round % 3 == 0 ? nil : try? FakeStorage(sectors: 64)
                disk?.records = false
                disk?.isHolding = round % 5 == 0
                disk?.reapsToHold = 3
                transport.update(VirtioBlock.self) { $0.replaceStorage(disk) }
                transport.configurationChanged()
                for _ in 0..<4 {
                    transport.serveQueue(0)
                    if let disk { transport.serveEventSource(disk.completionFD) }
                }
            }
        }
        for round in 0..<300 {
            try guest.memory.fill(at: Guest.Place.descriptors, count: 0x8000)
            guest.availableIndex = 0
            guest.queueSize = 64
            guest.negotiate()
            guest.setUpQueue(QueueConfiguration(size: 64, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used))
            try guest.writeHeader(RequestType.read, sector: 0)
            try guest.writeTable(guest.chain(Self.read))
            guest.write(.status, 15)
            for _ in 0..<round % 7 {
                try guest.offer(0)
                guest.write(.queueNotify, 0)
                transport.serveQueue(0)
                _ = guest.capacity
            }
            guest.write(.status, 0)
            let before = try guest.bytes(Guest.Place.used, 64)
            for _ in 0..<10 { transport.serveQueue(0) }
            #expect(try guest.bytes(Guest.Place.used, 64) == before)
        }
        isDone.set()
        plugger.join()
        let disk = try FakeStorage()
        guest.plug(disk)
        #expect(try guest.start())
        #expect(try guest.ask(RequestType.flush, of: disk) == BlockStatus.ok)
    }

    /// A capacity of two registers, read while disks change: never half of one and half of the other.
    @Test func class14_capacityReadDuringReplacements_isOneOfTheTwo() throws {
        let guest = try Guest(slotIsEmpty: true)
        try guest.start()
        let transport = guest.transport
        let isDone = Flag()
        let large = try SizedStorage(0x1_0000_0001), small = try SizedStorage(0x2)
        let plugger = try OSThread.start(name: "plugger") {
            for round in 0..<20_000 {
                let disk = round % 2 == 0 ? large : small
                transport.update(VirtioBlock.self) { $0.replaceStorage(disk) }
            }
            isDone.set()
        }
        var seen: Set<UInt64> = []
        while !isDone.value { seen.insert(guest.capacity) }
        plugger.join()
        #expect(seen.isSubset(of: [0, 2, 0x1_0000_0001]))
    }
}

private final class Flag: Sendable {
    private let flag = Atomic<Bool>(false)
    var value: Bool { flag.load(ordering: .acquiring) }
    func set() { flag.store(true, ordering: .releasing) }
}

/// What a driver can see of the device's state besides the configuration.
struct DeviceSnapshot: Equatable {
    var status: UInt8
    var isReady: Bool
    var indices: [UInt16]
    var isEnabled: Bool?
    var rings: [UInt8]
}

extension Guest {
    func snapshot() -> DeviceSnapshot {
        let rings = (try? bytes(Place.descriptors, 0x8000)) ?? []
        return transport.state.withLock { state in
            let queue = state.queues[0].queue
            return DeviceSnapshot(
                status: state.status.rawValue, isReady: state.queues[0].isReady,
                indices: [queue?.nextAvailable ?? 0, queue?.nextUsed ?? 0, queue?.publishedUsed ?? 0], isEnabled: queue?.isEnabled, rings: rings)
        }
    }
}

/// A disk that does nothing, of any size.
private final class SizedStorage: BlockStorage, @unchecked Sendable {
    let sectorCount: UInt64
    let isReadOnly = false
    let supportsDiscard = false
    let supportsWriteZeroes = false
    let logicalBlockSize: UInt32 = 512
    let inFlightLimit = 1
    var completionFD: Int32 { event.raw }
    private let event: EventFD

    init(_ sectors: UInt64) throws {
        sectorCount = sectors
        event = try EventFD()
    }
    func submit(_ operation: BlockOperation) {}
    func kick() {}
    func reap(_ body: (UInt64, Int32) -> Void) {}
    func drain(_ body: (UInt64, Int32) -> Void) {}
}

/// Each request that it is given makes the guest queue another.
private final class RefillingSlotStorage: BlockStorage, @unchecked Sendable {
    let sectorCount: UInt64 = 8
    let isReadOnly = false
    let supportsDiscard = false
    let supportsWriteZeroes = false
    let logicalBlockSize: UInt32 = 512
    let inFlightLimit = 4
    var completionFD: Int32 { event.raw }
    private let event: EventFD
    private var tokens: [UInt64] = []
    weak var guest: Guest?
    private(set) var served = 0

    init() throws { event = try EventFD() }
    func submit(_ operation: BlockOperation) {
        tokens.append(operation.token)
        served += 1
        try? guest?.offer(0)
    }
    func kick() {}
    func reap(_ body: (UInt64, Int32) -> Void) { drain(body) }
    func drain(_ body: (UInt64, Int32) -> Void) {
        let finished = tokens
        tokens = []
        for token in finished { body(token, 0) }
    }
}
