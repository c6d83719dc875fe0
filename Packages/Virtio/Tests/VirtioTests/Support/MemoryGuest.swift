import AddressSpace
@testable import Virtio

/// The machine's side of a virtio-mem device, as it should be: which chunks are shown, and which pages have come from the host. One thread.
final class FakeMemory: PluggableMemory, @unchecked Sendable {
    let size: UInt64
    var pageSize: UInt64 = 4096
    let isPreallocated: Bool
    /// First byte to end.
    private(set) var shown: [UInt64: UInt64] = [:]
    /// By 2 MiB pages of the region.
    private(set) var resident: Set<UInt64> = []
    private(set) var calls = 0
    /// The most bytes of one `populate` or `discard`.
    private(set) var largestPiece: UInt64 = 0
    var showFails = false
    var hideFails = false
    /// Bytes that may be populated until the host has none left.
    var supply = UInt64.max
    var discardFails = false

    init(size: UInt64, isPreallocated: Bool = false) {
        self.size = size
        self.isPreallocated = isPreallocated
    }

    func show(_ ranges: [Range<UInt64>]) -> Bool {
        calls += 1
        if showFails { return false }
        for range in ranges {
            precondition(shown.allSatisfy { $0.value <= range.lowerBound || $0.key >= range.upperBound }, "shown twice")
            shown[range.lowerBound] = range.upperBound
        }
        return true
    }

    func hide(_ ranges: [Range<UInt64>]) -> Bool {
        calls += 1
        if hideFails { return false }
        for range in ranges { precondition(shown.removeValue(forKey: range.lowerBound) == range.upperBound, "not shown") }
        return true
    }

    func populate(_ range: Range<UInt64>) -> Bool {
        largestPiece = max(largestPiece, range.upperBound - range.lowerBound)
        for page in range.lowerBound >> 21..<range.upperBound >> 21 {
            guard supply >= 2 << 20 else { return false }
            supply -= 2 << 20
            resident.insert(page)
        }
        return true
    }

    func discard(_ range: Range<UInt64>) -> Bool {
        precondition(range.upperBound <= size, "outside")
        largestPiece = max(largestPiece, range.upperBound - range.lowerBound)
        if discardFails { return false }
        for page in range.lowerBound >> 21..<range.upperBound >> 21 { resident.remove(page) }
        return true
    }

    /// The guest writes to every page that it gets at.
    func touchAll() {
        for (start, end) in shown { resident.formUnion(start >> 21..<end >> 21) }
    }
}

/// A driver for a virtio-mem device.
final class MemoryGuest {
    static let base: UInt64 = 1 << 32
    static let block: UInt64 = 2 << 20

    struct Answer: Equatable {
        var type: UInt16
        var state: UInt16 = 0

        static let acknowledged = Answer(type: 0)
        static let refused = Answer(type: 1)
        static let busy = Answer(type: 2)
        static let error = Answer(type: 3)
        static func state(_ state: UInt16) -> Answer { Answer(type: 0, state: state) }
    }

    let fake: FakeMemory
    let guest: QueueGuest

    init(
        blocks: UInt64 = 64, requested: UInt64 = 64, blockSize: UInt64? = MemoryGuest.block, fake: FakeMemory? = nil,
        access: VirtioMem.UnpluggedAccess = .discouraged, node: UInt16? = nil, features: UInt64? = nil
    ) throws {
        let memory = fake ?? FakeMemory(size: blocks * Self.block)
        self.fake = memory
        var options = VirtioMem.Options(id: "mem0", base: Self.base)
        options.blockSize = blockSize
        options.requestedSize = requested * Self.block
        options.unpluggedAccess = access
        options.node = node
        guest = try QueueGuest(try VirtioMem(options, memory: memory))
        try guest.start(features: features)
    }

    var device: (plugged: UInt64, requested: UInt64, usable: UInt64) { (guest.config(40, 8), guest.config(48, 8), guest.config(32, 8)) }

    /// Writes a request; `type` 0 plugs, 1 unplugs, 2 unplugs all, 3 asks.
    func write(_ type: UInt16, _ address: UInt64, _ count: UInt16, at place: UInt64 = QueueGuest.data) throws {
        try guest.memory.fill(at: place, count: 24, byte: 0xee)
        try guest.memory.store(type, at: place)
        try guest.memory.store(address, at: place + 8)
        try guest.memory.store(count, at: place + 16)
    }

    func offer(_ type: UInt16, _ address: UInt64, _ count: UInt16) throws {
        try write(type, address, count)
        try guest.memory.fill(at: QueueGuest.data + 64, count: 16, byte: 0xff)
        try guest.offer(0, [.readable(QueueGuest.data, 24), .writable(QueueGuest.data + 64, 10)])
    }

    /// Nil when there is no answer yet.
    func answer() throws -> Answer? {
        guard try guest.newUsed(0) == [UsedEntry(id: 0, length: 10)] else { return nil }
        return Answer(type: try guest.memory.load(UInt16.self, at: QueueGuest.data + 64), state: try guest.memory.load(UInt16.self, at: QueueGuest.data + 72))
    }

    func request(_ type: UInt16, _ address: UInt64 = 0, _ count: UInt16 = 0) throws -> Answer? {
        try offer(type, address, count)
        guest.write(.queueNotify, 0)
        guest.serve(turns: 100_000)
        return try answer()
    }

    func plug(_ block: UInt64, _ count: UInt16) throws -> Answer? { try request(0, Self.base + block * Self.block, count) }
    func unplug(_ block: UInt64, _ count: UInt16) throws -> Answer? { try request(1, Self.base + block * Self.block, count) }
    func unplugAll() throws -> Answer? { try request(2) }
    func state(_ block: UInt64, _ count: UInt16) throws -> Answer? { try request(3, Self.base + block * Self.block, count) }

    /// set-viomem.
    func ask(for blocks: UInt64) throws {
        try guest.transport.update(VirtioMem.self) { device throws(MemoryDeviceError) in try device.request(blocks * Self.block) }
        guest.transport.configurationChanged()
    }
}
