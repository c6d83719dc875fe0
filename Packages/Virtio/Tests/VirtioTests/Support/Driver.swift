import AddressSpace
@testable import Virtio

/// One element of a chain as the driver writes it.
struct Buffer {
    var address: UInt64
    var length: UInt32
    var flags: UInt16 = 0
    var next: UInt16?

    static func readable(_ address: UInt64, _ length: UInt32) -> Buffer { Buffer(address: address, length: length) }
    static func writable(_ address: UInt64, _ length: UInt32) -> Buffer { Buffer(address: address, length: length, flags: Descriptor.write) }
}

struct UsedEntry: Equatable {
    var id: UInt32
    var length: UInt32
}

/// What every driver does, good or bad: registers, tables of descriptors, rings.
protocol Driver: AnyObject {
    var space: AddressSpace { get }
    var transport: VirtioMMIODevice { get }
}

extension Driver {
    var memory: GuestMemory { space.memory }

    // MARK: Registers

    func read(_ register: MMIORegister) -> UInt32 { UInt32(transport.read(offset: register.rawValue, size: 4)) }
    func write(_ register: MMIORegister, _ value: UInt32) { transport.write(offset: register.rawValue, size: 4, value: UInt64(value)) }
    func config(_ offset: UInt64, _ size: Int) -> UInt64 { transport.read(offset: MMIORegister.config + offset, size: size) }
    var status: DeviceStatus { DeviceStatus(rawValue: UInt8(truncatingIfNeeded: read(.status))) }

    var offeredFeatures: UInt64 {
        write(.deviceFeaturesSelect, 0)
        let low = read(.deviceFeatures)
        write(.deviceFeaturesSelect, 1)
        return UInt64(read(.deviceFeatures)) << 32 | UInt64(low)
    }

    /// From a reset up to FEATURES_OK; all that is offered unless `features` says otherwise.
    func negotiate(_ features: UInt64? = nil) {
        write(.status, 0)
        write(.status, 1)
        write(.status, 3)
        let features = features ?? offeredFeatures
        write(.driverFeaturesSelect, 0)
        write(.driverFeatures, UInt32(truncatingIfNeeded: features))
        write(.driverFeaturesSelect, 1)
        write(.driverFeatures, UInt32(features >> 32))
        write(.status, 11)
    }

    func setUpQueue(_ configuration: QueueConfiguration, at index: Int = 0) {
        write(.queueSelect, UInt32(index))
        write(.queueSize, configuration.size)
        write(.queueDescriptorLow, UInt32(truncatingIfNeeded: configuration.descriptorTable))
        write(.queueDescriptorHigh, UInt32(configuration.descriptorTable >> 32))
        write(.queueDriverLow, UInt32(truncatingIfNeeded: configuration.availableRing))
        write(.queueDriverHigh, UInt32(configuration.availableRing >> 32))
        write(.queueDeviceLow, UInt32(truncatingIfNeeded: configuration.usedRing))
        write(.queueDeviceHigh, UInt32(configuration.usedRing >> 32))
        write(.queueReady, 1)
    }

    // MARK: Rings

    /// Writes descriptors from `first` on, each linked to the following one unless it says otherwise.
    func writeTable(_ buffers: [Buffer], at table: UInt64, first: Int = 0) throws {
        for (index, buffer) in buffers.enumerated() {
            let place = table + UInt64(first + index) * 16
            let isLast = index == buffers.count - 1
            try memory.store(buffer.address, at: place)
            try memory.store(buffer.length, at: place + 8)
            try memory.store(buffer.flags | (buffer.next != nil || !isLast ? Descriptor.next : 0), at: place + 12)
            try memory.store(buffer.next ?? UInt16(truncatingIfNeeded: first + index + 1), at: place + 14)
        }
    }

    /// Makes the chain at descriptor `head` available; `index` is the ring's, which it counts up.
    func offer(_ head: UInt16, ring: UInt64, size: UInt16, index: inout UInt16) throws {
        try memory.store(head, at: ring + 4 + 2 * UInt64(index % size))
        index &+= 1
        try memory.storeRelease16(index, at: ring + 2)
    }

    /// The entries of the used ring from `seen` on.
    func usedEntries(ring: UInt64, size: UInt16, seen: inout UInt16) throws -> [UsedEntry] {
        let index = try memory.loadAcquire16(at: ring + 2)
        var entries: [UsedEntry] = []
        while seen != index {
            let place = ring + 4 + 8 * UInt64(seen % size)
            entries.append(UsedEntry(id: try memory.load(UInt32.self, at: place), length: try memory.load(UInt32.self, at: place + 4)))
            seen &+= 1
        }
        return entries
    }

    // MARK: Memory

    func fill(_ address: UInt64, _ bytes: [UInt8]) throws { if !bytes.isEmpty { try memory.write(at: address, bytes: bytes) } }
    func bytes(_ address: UInt64, _ count: Int) throws -> [UInt8] { try memory.bytes(at: address, count: UInt64(count), limit: 1 << 22) }
}
