import AddressSpace
import Devices
import LinuxSys
import Virtio

/// A driver as a guest has it: registers through the machine's address space, rings in its memory. Nothing is allocated once it runs.
final class GuestDriver {
    let machine: GuestMachine
    let transport: VirtioMMIODevice
    private let registers: UInt64
    private(set) var rings: [GuestRing] = []

    /// Takes the device from reset to DRIVER_OK (virtio 1.2, section 3.1.1), with everything that it offers but `without`.
    init(_ machine: GuestMachine, _ name: String, _ device: sending any VirtioDevice, without: UInt64 = 0, ringSize: UInt16 = 256) throws {
        let count = device.queueSizes.count
        self.machine = machine
        transport = try VirtioMMIODevice.attach(device, name: name, to: machine.bus, memory: machine.memory, loop: machine.loop)
        guard let slot = transport.slot else { throw OperationError.refused("\(name) has no slot") }
        registers = slot.base
        for status in [0, 1, 3] as [UInt32] { write(0x70, status) }
        for word in 0..<2 as Range<UInt32> {
            write(0x14, word)
            let offered = read(0x10)
            write(0x24, word)
            write(0x20, offered & ~UInt32(truncatingIfNeeded: without >> UInt64(32 * word)))
        }
        write(0x70, 11)
        for index in 0..<count {
            write(0x30, UInt32(index))
            let ring = GuestRing(machine, size: min(ringSize, UInt16(read(0x34))))
            rings.append(ring)
            write(0x38, UInt32(ring.size))
            for (register, address) in [(0x80, ring.table), (0x90, ring.available), (0xa0, ring.used)] as [(UInt64, UInt64)] {
                write(register, UInt32(truncatingIfNeeded: address))
                write(register + 4, UInt32(address >> 32))
            }
            write(0x44, 1)
        }
        write(0x70, 15)
        guard read(0x70) == 15 else { throw OperationError.refused("\(name) does not start") }
        // Each queue is notified once when the device goes live.
        for _ in 0..<4 { machine.loop.runOnce(timeoutMilliseconds: 0) }
    }

    /// Address of a register.
    func address(_ register: UInt64) -> UInt64 { registers + register }

    private func read(_ register: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: machine.space.read(at: registers + register, size: 4) ?? 0) }
    private func write(_ register: UInt64, _ value: UInt32) { machine.space.write(at: registers + register, size: 4, value: UInt64(value)) }

    func notify(_ queue: Int) { write(0x50, UInt32(queue)) }

    /// Offers the chains at `heads`, tells the device, and waits until it has given back as many. `meanwhile` others do their part.
    func transfer(_ queue: Int, heads: [UInt16], meanwhile: () throws -> Void = {}) throws {
        let ring = rings[queue]
        for head in heads { try ring.offer(head) }
        notify(queue)
        try collect(queue, heads.count, meanwhile: meanwhile)
    }

    /// Waits until the device has given back `count` chains.
    func collect(_ queue: Int, _ count: Int, meanwhile: () throws -> Void = {}) throws {
        let ring = rings[queue]
        var missing = count
        try machine.turn {
            try meanwhile()
            while missing > 0, try ring.take() != nil { missing -= 1 }
            return missing == 0
        }
    }
}

/// A split virtqueue (virtio 1.2, section 2.7), the driver's side.
final class GuestRing {
    let size: UInt16
    let table: UInt64
    let available: UInt64
    let used: UInt64
    private let memory: GuestMemory
    private var offered: UInt16 = 0
    private var taken: UInt16 = 0

    init(_ machine: GuestMachine, size: UInt16) {
        self.size = size
        memory = machine.memory
        table = machine.allocate(UInt64(size) * 16)
        available = machine.allocate(UInt64(size) * 2 + 6)
        used = machine.allocate(UInt64(size) * 8 + 6)
    }

    /// A buffer as a descriptor has it.
    struct Buffer {
        static let isWritable: UInt16 = 2
        static let isIndirect: UInt16 = 4
        var address: UInt64
        var length: UInt32
        var flags: UInt16 = 0

        static func readable(_ address: UInt64, _ length: UInt32) -> Buffer { Buffer(address: address, length: length) }
        static func writable(_ address: UInt64, _ length: UInt32) -> Buffer { Buffer(address: address, length: length, flags: isWritable) }
        static func indirect(_ table: UInt64, _ count: Int) -> Buffer { Buffer(address: table, length: UInt32(count * 16), flags: isIndirect) }
    }

    /// Writes a chain into descriptors from `first` on, or into a table elsewhere.
    func write(_ buffers: [Buffer], first: UInt16 = 0, table: UInt64? = nil) throws {
        for (index, buffer) in buffers.enumerated() {
            let place = (table ?? self.table) + UInt64(Int(first) + index) * 16
            let isLast = index == buffers.count - 1
            try memory.store(buffer.address, at: place)
            try memory.store(buffer.length, at: place + 8)
            try memory.store(buffer.flags | (isLast ? 0 : 1), at: place + 12)
            try memory.store(first + UInt16(index) + 1, at: place + 14)
        }
    }

    /// Makes the chain at `head` available.
    func offer(_ head: UInt16) throws {
        try memory.store(head, at: available + 4 + 2 * UInt64(offered % size))
        offered &+= 1
        try memory.storeRelease16(offered, at: available + 2)
    }

    /// Makes the same chain available as often as `count`, with one store of the index; the caller has filled the ring.
    func offerAgain(_ count: UInt16) throws {
        offered &+= count
        try memory.storeRelease16(offered, at: available + 2)
    }

    /// The next chain that has been given back, and an interrupt for the one behind it, please; nil when there is none.
    func take() throws -> (head: UInt16, length: UInt32)? {
        guard try memory.loadAcquire16(at: used + 2) != taken else { return nil }
        let place = used + 4 + 8 * UInt64(taken % size)
        let entry = (UInt16(truncatingIfNeeded: try memory.load(UInt32.self, at: place)), try memory.load(UInt32.self, at: place + 4))
        taken &+= 1
        try memory.store(taken, at: available + 4 + 2 * UInt64(size))
        return entry
    }
}
