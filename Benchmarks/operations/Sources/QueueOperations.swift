import AddressSpace
import COperations
import Virtio

/// The device's side of a queue alone: chains that are taken and given back, and those that are refused.
func queueOperations() throws -> [Operation] {
    let queues = try BareQueues()
    return try queues.chains() + queues.suppression() + queues.refusals()
}

private final class BareQueues {
    typealias Buffer = GuestRing.Buffer
    /// What the ring takes at once; half of its size.
    private static let batch: UInt16 = 128

    private let machine: GuestMachine
    private let data: UInt64
    private let chain = DescriptorChain(maximumLength: 256)

    init() throws {
        machine = try GuestMachine()
        data = machine.allocate(1 << 20)
    }

    private func makeRing() -> GuestRing { GuestRing(machine, size: 256) }

    private func makeQueue(_ ring: GuestRing) throws -> SplitQueue {
        try SplitQueue(
            QueueConfiguration(size: UInt32(ring.size), descriptorTable: ring.table, availableRing: ring.available, usedRing: ring.used), maximumSize: 256,
            features: VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex, memory: machine.memory)
    }

    // MARK: Chains

    /// As a disk's request has it: header, data, status.
    private var blockRequest: [Buffer] { [.readable(data, 16), .writable(data + 4096, 4096), .writable(data + 16, 1)] }

    func chains() throws -> [Operation] {
        let table = machine.allocate(4096)
        let pieces = [.readable(data, 16)] + (0..<22).map { Buffer.writable(data + 4096 * UInt64($0 + 1), 4096) } + [.writable(data + 16, 1)]
        let border = GuestMachine.ramSize - 2048
        return [
            try pop("1 descriptor", [.writable(data, 2048)]),
            try pop("3 descriptors, a disk's request", blockRequest),
            try pop("3 descriptors in a table", blockRequest, table: table),
            try pop("24 descriptors in a table", pieces, table: table + 1024),
            try pop("1 descriptor, two pieces of RAM", [.writable(border, 4096)]),
        ]
    }

    private func pop(_ name: String, _ buffers: [Buffer], table: UInt64? = nil) throws -> Operation {
        let (ring, chain, memory) = (makeRing(), chain, machine.memory)
        try ring.write(buffers, table: table)
        if let table { try ring.write([.indirect(table, buffers.count)]) }
        // Each entry names descriptor 0.
        try memory.fill(at: ring.available + 4, count: 2 * UInt64(ring.size))
        let queue = try makeQueue(ring)
        return .simple("queue", "take and give back: \(name)", perRound: Int(Self.batch)) {
            try ring.offerAgain(Self.batch)
            var count = 0
            while try queue.pop(into: chain) {
                queue.push(head: chain.head, written: 1)
                count += 1
            }
            operations_use(queue.publish() ? 1 : 0)
            guard count == Int(Self.batch) else { throw OperationError.refused("\(count) chains") }
        }
    }

    // MARK: Suppression by index (virtio 1.2, sections 2.7.7 and 2.7.10)

    func suppression() throws -> [Operation] {
        let memory = machine.memory
        func publish(_ name: String, isWanted: Bool) throws -> Operation {
            let ring = makeRing(), queue = try makeQueue(ring)
            let event = ring.available + 4 + 2 * UInt64(ring.size)
            var used: UInt16 = 0
            return .simple("queue", "give back and ask: interrupt \(name)") {
                // The driver has seen everything so far, or waits for what is far ahead.
                try memory.store(isWanted ? used : used &+ 0x4000, at: event)
                queue.push(head: 0, written: 1)
                used &+= 1
                // The first interrupt is not suppressed: there is no old index.
                guard queue.publish() == isWanted || used == 1 else { throw OperationError.refused("suppression") }
            }
        }
        let queue = try makeQueue(makeRing())
        return [
            try publish("wanted", isWanted: true), try publish("not wanted", isWanted: false),
            .simple("queue", "no notifications, please, and again") {
                queue.disableNotifications()
                operations_use(try queue.enableNotifications() ? 1 : 0)
            },
        ]
    }

    // MARK: Refusals

    func refusals() throws -> [Operation] {
        let room = machine.allocate(8192), hole: UInt64 = 0x8000_0000
        let writable = Buffer.writable(data, 512), readable = Buffer.readable(data, 512)
        func table(_ buffers: [Buffer], at place: UInt64) throws -> [Buffer] {
            try makeRing().write(buffers, table: place)
            return [.indirect(place, buffers.count)]
        }
        // 256 times all of the lower RAM: too much for a chain.
        let large = [Buffer](repeating: .writable(0, UInt32(GuestMachine.ramSize)), count: 256)
        return [
            try refuse("a head that does not exist", [writable], head: 256),
            try refuse("an available index that jumps", [writable], index: 257),
            try refuse("a next descriptor that does not exist", [writable, writable]) { ring, memory in try memory.store(256 as UInt16, at: ring.table + 14) },
            try refuse("a loop of two descriptors", [writable, writable]) { ring, memory in
                try memory.store(3 as UInt16, at: ring.table + 28)
                try memory.store(0 as UInt16, at: ring.table + 30)
            },
            try refuse("a buffer outside of RAM", [.writable(hole, 512)]),
            try refuse("a buffer whose end wraps", [.writable(.max - 511, 1024)]),
            try refuse("a buffer that begins in RAM and ends outside", [.writable(2 * GuestMachine.ramSize - 512, 1024)]),
            try refuse("a readable buffer behind a writable one", [writable, readable]),
            try refuse("more than 4 GiB", try table(large, at: room)),
            try refuse("a table in a table", try table(try table([writable], at: room + 4096), at: room + 4096 + 512)),
            try refuse("a table and a next descriptor", try table([writable], at: room + 4096) + [writable]),
            try refuse("a table of a part of a descriptor", [Buffer(address: room, length: 24, flags: Buffer.isIndirect)]),
            try refuse("a table outside of RAM", [.indirect(hole, 3)]),
        ]
    }

    /// A fault disables the queue: there is a new one each time.
    private func refuse(
        _ name: String, _ buffers: [Buffer], head: UInt16 = 0, index: UInt16 = 1, _ change: (GuestRing, GuestMemory) throws -> Void = { _, _ in }
    ) throws -> Operation {
        let (ring, chain, memory) = (makeRing(), chain, machine.memory)
        try ring.write(buffers)
        try memory.store(head, at: ring.available + 4)
        try memory.store(index, at: ring.available + 2)
        try change(ring, memory)
        return Operation("queue", "refuse: \(name)") { [self] rounds, measurement in
            let queues = try (0..<rounds).map { _ in try makeQueue(ring) }
            var faults = 0
            measurement.take {
                for queue in queues {
                    do throws(QueueFault) { _ = try queue.pop(into: chain) } catch { faults += 1 }
                }
            }
            guard faults == rounds else { throw OperationError.refused("\(name) was taken") }
        }
    }
}
