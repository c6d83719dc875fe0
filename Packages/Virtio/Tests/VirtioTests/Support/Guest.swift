import AddressSpace
import BlockBackend
import HypervisorTesting
@testable import Virtio

/// The guest: RAM, and a driver that is as good or as bad as the test wants.
final class Guest: Driver {
    static let ramSize: UInt64 = 4 << 20
    /// RAM that goes on right after the first piece, from another mapping.
    static let secondRAM: UInt64 = 1 << 20

    enum Place {
        static let descriptors: UInt64 = 0x1000
        static let available: UInt64 = 0x4000
        static let used: UInt64 = 0x6000
        static let table: UInt64 = 0x9000
        static let header: UInt64 = 0x1_0000
        static let status: UInt64 = 0x1_1000
        static let data: UInt64 = 0x2_0000
    }

    let space: AddressSpace
    let line = TestInterruptLine(gsi: 5)
    let storage: any BlockStorage
    let fake: FakeStorage
    let transport: VirtioMMIODevice

    var queueSize: UInt16 = 256
    var availableIndex: UInt16 = 0
    var seenUsed: UInt16 = 0

    init(_ fake: FakeStorage? = nil, options: VirtioBlock.Options = .init(), over real: (any BlockStorage)? = nil, slotIsEmpty: Bool = false) throws {
        space = AddressSpace(name: "memory", size: 1 << 40)
        let ram = try HostMemory.anonymous(size: Self.ramSize)
        try space.root.add(try Region.ram(name: "ram", size: Self.ramSize, memory: ram), at: 0)
        let more = try HostMemory.anonymous(size: Self.secondRAM)
        try space.root.add(try Region.ram(name: "more", size: Self.secondRAM, memory: more), at: Self.ramSize)
        let disk = try fake ?? FakeStorage()
        self.fake = disk
        storage = real ?? disk
        transport = try VirtioMMIODevice(
            name: "disk", device: VirtioBlock(storage: slotIsEmpty ? nil : real ?? disk, options: options), memory: space.memory, line: line)
    }

    /// The whole initialization; true when the device runs.
    @discardableResult
    func start(features: UInt64? = nil, queueSize: UInt16 = 256) throws -> Bool {
        self.queueSize = queueSize
        availableIndex = 0
        seenUsed = 0
        try memory.fill(at: Place.descriptors, count: 0x8000)
        negotiate(features)
        setUpQueue(QueueConfiguration(size: UInt32(queueSize), descriptorTable: Place.descriptors, availableRing: Place.available, usedRing: Place.used))
        write(.status, 15)
        serve()
        return status.isLive
    }

    // MARK: Rings

    /// Writes descriptors into the queue's own table.
    func writeTable(_ buffers: [Buffer], first: Int = 0) throws { try writeTable(buffers, at: Place.descriptors, first: first) }

    func offer(_ head: UInt16) throws { try offer(head, ring: Place.available, size: queueSize, index: &availableIndex) }

    /// What the event loop would do.
    func serve() {
        transport.serveQueue(0)
        while fake.inFlight > 0, !fake.isHolding { transport.serveEventSource(fake.completionFD) }
    }

    func newUsed() throws -> [UsedEntry] { try usedEntries(ring: Place.used, size: queueSize, seen: &seenUsed) }

    func setUsedEvent(_ value: UInt16) throws { try memory.store(value, at: Place.available + 4 + 2 * UInt64(queueSize)) }
    func availableEvent() throws -> UInt16 { try memory.load(UInt16.self, at: Place.used + 4 + 8 * UInt64(queueSize)) }

    // MARK: Block requests

    func writeHeader(_ type: UInt32, sector: UInt64, at place: UInt64 = Place.header) throws {
        try memory.store(type, at: place)
        try memory.store(UInt32(0), at: place + 4)
        try memory.store(sector, at: place + 8)
    }

    /// The buffers of a plain request.
    func chain(_ data: [Buffer]) -> [Buffer] {
        [.readable(Place.header, 16)] + data + [.writable(Place.status, 1)]
    }

    /// Sends one request in descriptors 0... and returns the status byte (0xff: none was written) and the used entry.
    func request(_ type: UInt32, sector: UInt64 = 0, _ data: [Buffer] = [], indirect: Bool = false) throws -> (status: UInt8, used: UsedEntry?) {
        try writeHeader(type, sector: sector)
        try memory.store(UInt8(0xff), at: Place.status)
        let buffers = chain(data)
        if indirect {
            try writeTable(buffers, at: Place.table)
            try writeTable([Buffer(address: Place.table, length: UInt32(buffers.count * 16), flags: Descriptor.indirect)])
        } else {
            try writeTable(buffers)
        }
        try offer(0)
        serve()
        return (try memory.load(UInt8.self, at: Place.status), try newUsed().last)
    }
}

/// SplitMix64: the same sequence on every run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

enum RequestType {
    static let read: UInt32 = 0
    static let write: UInt32 = 1
    static let flush: UInt32 = 4
    static let identify: UInt32 = 8
    static let discard: UInt32 = 11
    static let writeZeroes: UInt32 = 13
}
