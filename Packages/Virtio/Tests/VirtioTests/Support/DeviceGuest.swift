import AddressSpace
import HypervisorTesting
import LinuxSys
import Synchronization
@testable import Virtio

/// A guest whose driver knows nothing of the device type: registers, rings, and RAM that may be shared with another process.
final class DeviceGuest: Driver {
    static let ramSize: UInt64 = 4 << 20

    let space: AddressSpace
    let ram: HostMemory
    let line: TestInterruptLine
    let transport: VirtioMMIODevice
    private var availableIndex: [UInt16]
    private var seenUsed: [UInt16]
    var queueSize: UInt16 = 16

    /// RAM only; the device comes with `init(device:on:)`.
    static func memory(isShared: Bool = true) throws -> (AddressSpace, HostMemory) {
        let space = AddressSpace(name: "memory", size: 1 << 40)
        let ram = try HostMemory.anonymous(size: ramSize, options: isShared ? .shared : [])
        // Two pieces, one of them high, as on a PC.
        try space.root.add(try Region.ram(name: "low", size: ramSize / 2, memory: ram), at: 0)
        try space.root.add(try Region.ram(name: "high", size: ramSize / 2, memory: ram, memoryOffset: ramSize / 2), at: 1 << 32)
        return (space, ram)
    }

    init(device: sending any VirtioDevice, on memory: (AddressSpace, HostMemory), hasEvent: Bool = true) throws {
        (space, ram) = memory
        line = TestInterruptLine(gsi: 5, hasEvent: hasEvent)
        let count = device.queueSizes.count
        transport = try VirtioMMIODevice(name: "device", device: device, memory: space.memory, line: line)
        availableIndex = [UInt16](repeating: 0, count: count)
        seenUsed = [UInt16](repeating: 0, count: count)
    }

    /// Where the driver puts queue `index`; odd ones are in high memory.
    func place(_ index: Int) -> QueueConfiguration {
        let base = (index % 2 == 0 ? 0 : UInt64(1) << 32) + 0x1_0000 * UInt64(index + 1)
        return QueueConfiguration(size: UInt32(queueSize), descriptorTable: base, availableRing: base + 0x4000, usedRing: base + 0x8000)
    }

    func setUp(_ index: Int, _ configuration: QueueConfiguration? = nil) throws {
        let configuration = configuration ?? place(index)
        if memory.isRAM(at: configuration.descriptorTable, count: 0xc000) { try memory.fill(at: configuration.descriptorTable, count: 0xc000) }
        availableIndex[index] = 0
        seenUsed[index] = 0
        setUpQueue(configuration, at: index)
    }

    /// The whole initialization; true when the device runs.
    @discardableResult
    func start(queues: [Int], features: UInt64? = nil) throws -> Bool {
        negotiate(features)
        for index in queues { try setUp(index) }
        write(.status, 15)
        return status.isLive
    }

    // MARK: Rings

    /// Writes a chain into descriptors from `first` on and offers it.
    func offer(_ queue: Int, _ buffers: [Buffer], first: UInt16 = 0) throws {
        try writeTable(buffers, at: place(queue).descriptorTable, first: Int(first))
        try offer(first, ring: place(queue).availableRing, size: queueSize, index: &availableIndex[queue])
    }

    /// What KVM's ioeventfd does.
    func kick(_ queue: Int) { transport.notifications[queue].signal() }

    func newUsed(_ queue: Int) throws -> [UsedEntry] {
        let place = place(queue)
        let entries = try usedEntries(ring: place.usedRing, size: queueSize, seen: &seenUsed[queue])
        // With the event index: an interrupt for the next one, please.
        try memory.store(seenUsed[queue], at: place.availableRing + 4 + 2 * UInt64(queueSize))
        return entries
    }

    // MARK: Events

    /// What the event loop would do for the device's descriptors, for `milliseconds` or until `condition` holds.
    @discardableResult
    func run(milliseconds: Int, until condition: () throws -> Bool) rethrows -> Bool {
        let end = Clock.monotonicNanoseconds() + UInt64(milliseconds) * 1_000_000
        repeat {
            serveSources()
            if try condition() { return true }
            Clock.sleep(nanoseconds: 200_000)
        } while Clock.monotonicNanoseconds() < end
        return try condition()
    }

    func serveSources() {
        let sources = transport.state.withLock { $0.device.eventSources }
        for source in sources { transport.serveEventSource(source) }
    }
}
