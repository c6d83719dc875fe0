import AddressSpace
import HypervisorTesting
import LinuxSys
@testable import Virtio

/// A guest with a driver for any device: as many queues as it has, as good or as bad as the test wants.
final class QueueGuest {
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
    var memory: GuestMemory { space.memory }

    init(_ device: sending any VirtioDevice) throws {
        space = AddressSpace(name: "memory", size: 1 << 40)
        try space.root.add(try Region.ram(name: "ram", size: Self.ramSize, memory: try HostMemory.anonymous(size: Self.ramSize)), at: 0)
        rings = device.queueSizes.indices.map { Ring(size: 0, base: 0x1_0000 + UInt64($0) * 0x4000) }
        eventSources = device.eventSources
        transport = try VirtioMMIODevice(name: "device", device: device, memory: space.memory, line: line)
    }

    func read(_ register: MMIORegister) -> UInt32 { UInt32(transport.read(offset: register.rawValue, size: 4)) }
    func write(_ register: MMIORegister, _ value: UInt32) { transport.write(offset: register.rawValue, size: 4, value: UInt64(value)) }
    var status: DeviceStatus { transport.status }
    func config(_ offset: UInt64, _ size: Int) -> UInt64 { transport.read(offset: MMIORegister.config + offset, size: size) }

    var offeredFeatures: UInt64 {
        write(.deviceFeaturesSelect, 0)
        let low = read(.deviceFeatures)
        write(.deviceFeaturesSelect, 1)
        return UInt64(read(.deviceFeatures)) << 32 | UInt64(low)
    }

    /// The whole initialization. Without the event index unless it is asked for, so that each used buffer interrupts.
    func start(features: UInt64? = nil, size: UInt16 = 16, leavingOut: Set<Int> = []) throws {
        write(.status, 0)
        write(.status, 3)
        let features = features ?? offeredFeatures & ~VirtioFeature.eventIndex
        write(.driverFeaturesSelect, 0)
        write(.driverFeatures, UInt32(truncatingIfNeeded: features))
        write(.driverFeaturesSelect, 1)
        write(.driverFeatures, UInt32(features >> 32))
        write(.status, 11)
        for index in rings.indices {
            write(.queueSelect, UInt32(index))
            rings[index] = Ring(size: min(size, UInt16(read(.queueSizeMaximum))), base: rings[index].base)
            try memory.fill(at: rings[index].base, count: 0x4000)
            if leavingOut.contains(index) { continue }
            write(.queueSize, UInt32(rings[index].size))
            write(.queueDescriptorLow, UInt32(rings[index].descriptors))
            write(.queueDriverLow, UInt32(rings[index].available))
            write(.queueDeviceLow, UInt32(rings[index].used))
            write(.queueReady, 1)
        }
        write(.status, 15)
        serve()
    }

    /// Makes a chain of descriptors from `head` on available.
    func offer(_ queue: Int, head: UInt16 = 0, _ buffers: [Buffer]) throws {
        for (index, buffer) in buffers.enumerated() {
            let place = rings[queue].descriptors + UInt64(Int(head) + index) * 16
            let isLast = index == buffers.count - 1
            try memory.store(buffer.address, at: place)
            try memory.store(buffer.length, at: place + 8)
            try memory.store(buffer.flags | (buffer.next != nil || !isLast ? Descriptor.next : 0), at: place + 12)
            try memory.store(buffer.next ?? head &+ UInt16(index) &+ 1, at: place + 14)
        }
        try offer(queue, head)
    }

    func offer(_ queue: Int, _ head: UInt16) throws {
        let ring = rings[queue]
        try memory.store(head, at: ring.available + 4 + 2 * UInt64(ring.availableIndex % ring.size))
        rings[queue].availableIndex &+= 1
        try memory.storeRelease16(rings[queue].availableIndex, at: ring.available + 2)
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
        let ring = rings[queue]
        let index = try memory.loadAcquire16(at: ring.used + 2)
        var entries: [UsedEntry] = []
        while rings[queue].seenUsed != index {
            let place = ring.used + 4 + 8 * UInt64(rings[queue].seenUsed % ring.size)
            entries.append(UsedEntry(id: try memory.load(UInt32.self, at: place), length: try memory.load(UInt32.self, at: place + 4)))
            rings[queue].seenUsed &+= 1
        }
        return entries
    }

    func fill(_ address: UInt64, _ bytes: [UInt8]) throws { if !bytes.isEmpty { try memory.write(at: address, bytes: bytes) } }
    func bytes(_ address: UInt64, _ count: Int) throws -> [UInt8] { try memory.bytes(at: address, count: UInt64(count), limit: 1 << 22) }
}
