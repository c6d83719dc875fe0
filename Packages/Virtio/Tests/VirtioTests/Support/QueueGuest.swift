import AddressSpace
import HypervisorTesting
import LinuxSys
@testable import Virtio

/// A guest with a driver for any device: as many queues as it has, as good or as bad as the test wants.
final class QueueGuest: Driver {
    static let ramSize: UInt64 = 8 << 20
    /// Free for the test's buffers.
    static let data: UInt64 = 4 << 20

    struct Ring {
        var size: UInt16 = 0
        var base: UInt64 = 0
        var availableIndex: UInt16 = 0
        var seenUsed: UInt16 = 0
        var descriptors: UInt64 { base }
        var available: UInt64 { base + 0x2000 }
        var used: UInt64 { base + 0x3000 }
    }

    let space: AddressSpace
    let line = TestInterruptLine(gsi: 5)
    let transport: VirtioMMIODevice
    let eventSources: [Int32]
    var rings: [Ring]

    init(_ device: sending any VirtioDevice) throws {
        space = AddressSpace(name: "memory", size: 1 << 40)
        try space.root.add(try Region.ram(name: "ram", size: Self.ramSize, memory: try HostMemory.anonymous(size: Self.ramSize)), at: 0)
        rings = device.queueSizes.indices.map { Ring(size: 0, base: 0x1_0000 + UInt64($0) * 0x4000) }
        eventSources = device.eventSources
        transport = try VirtioMMIODevice(name: "device", device: device, memory: space.memory, line: line)
    }

    /// The whole initialization. Without the event index unless it is asked for, so that each used buffer interrupts.
    func start(features: UInt64? = nil, size: UInt16 = 16, leavingOut: Set<Int> = []) throws {
        negotiate(features ?? offeredFeatures & ~VirtioFeature.eventIndex)
        for index in rings.indices {
            write(.queueSelect, UInt32(index))
            let ring = Ring(size: min(size, UInt16(read(.queueSizeMaximum))), base: rings[index].base)
            rings[index] = ring
            try memory.fill(at: ring.base, count: 0x4000)
            if leavingOut.contains(index) { continue }
            setUpQueue(
                QueueConfiguration(size: UInt32(ring.size), descriptorTable: ring.descriptors, availableRing: ring.available, usedRing: ring.used), at: index)
        }
        write(.status, 15)
        serve()
    }

    /// Makes a chain of descriptors from `head` on available.
    func offer(_ queue: Int, head: UInt16 = 0, _ buffers: [Buffer]) throws {
        try writeTable(buffers, at: rings[queue].descriptors, first: Int(head))
        try offer(queue, head)
    }

    func offer(_ queue: Int, _ head: UInt16) throws {
        try offer(head, ring: rings[queue].available, size: rings[queue].size, index: &rings[queue].availableIndex)
    }

    func kick(_ queue: Int) {
        write(.queueNotify, UInt32(queue))
        serve()
    }

    /// One turn of the event loop: everything that is ready, once. True when something was.
    @discardableResult
    func turn() -> Bool {
        var isBusy = false
        for (index, event) in transport.notifications.enumerated() where event.drain() > 0 {
            isBusy = true
            transport.serveQueue(index)
        }
        for source in eventSources { transport.serveEventSource(source) }
        return isBusy
    }

    /// What the event loop would do until nothing is left, at most `turns`.
    func serve(turns: Int = 100) {
        for _ in 0..<turns where !turn() { return }
    }

    func newUsed(_ queue: Int) throws -> [UsedEntry] {
        try usedEntries(ring: rings[queue].used, size: rings[queue].size, seen: &rings[queue].seenUsed)
    }
}
