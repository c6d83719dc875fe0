import AddressSpace
import HypervisorTesting
import Synchronization
import Testing
@testable import Virtio

/// Random guests with a fixed seed. What must hold: no trap, no hang, bounded memory, and a device that works after a reset.
@Suite struct FuzzTests {
    private static func expectAlive(_ guest: Guest, _ seed: UInt64) throws {
        guest.fake.isHolding = false
        guest.serve()
        let works = try guest.start() && guest.request(RequestType.read, [.writable(Guest.Place.data, 512)]).status == BlockStatus.ok
        if !works { Issue.record("seed \(seed)") }
    }

    /// Numbers near the edges of things.
    private static func number(_ random: inout SeededGenerator) -> UInt64 {
        switch random.next() % 8 {
        case 0: random.next() % 20
        case 1: UInt64.max &- random.next() % 20
        case 2: 1 << (random.next() % 64)
        case 3: (1 << (random.next() % 64)) &- 1
        case 4: Guest.ramSize + Guest.secondRAM &- random.next() % 600
        case 5: [Guest.Place.descriptors, Guest.Place.available, Guest.Place.used, Guest.Place.table, Guest.Place.header, Guest.Place.data][Int(random.next() % 6)]
        case 6: random.next() % (Guest.ramSize + Guest.secondRAM)
        default: random.next()
        }
    }

    @Test func registers_inRandomOrder_neverBreakTheDevice() throws {
        let guest = try Guest()
        guest.fake.records = false
        for seed in 0..<200 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            for _ in 0..<300 {
                let offset = random.next() % 4 == 0 ? random.next() % 0x200 : random.next() % 0x40 * 4
                let size = random.next() % 4 == 0 ? Int(random.next() % 8) + 1 : 4
                guard offset + UInt64(size) <= 0x200 else { continue }
                if random.next() % 3 == 0 {
                    _ = guest.transport.read(offset: offset, size: size)
                } else {
                    let status = [0, 1, 3, 11, 15, 15, 15][Int(random.next() % 7)] as UInt64
                    guest.transport.write(offset: offset, size: size, value: offset == 0x70 ? status : Self.number(&random))
                }
                if random.next() % 16 == 0 { guest.transport.serveQueue(Int(random.next() % 3)) }
            }
            try Self.expectAlive(guest, seed)
        }
    }

    @Test func class19_descriptorsAtRandom_neverBreakTheDevice() throws {
        let guest = try Guest(options: .init(offersDiscard: true, offersWriteZeroes: true))
        guest.fake.records = false
        for seed in 0..<4000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            try guest.start(features: random.next() % 2 == 0 ? nil : VirtioFeature.version1 | VirtioFeature.indirectDescriptors, queueSize: [1, 4, 16, 256][Int(random.next() % 4)])
            let size = UInt64(guest.queueSize)
            for place in [Guest.Place.descriptors, Guest.Place.table] {
                for index in 0..<min(size, 24) {
                    // Mostly plausible, so that the deeper checks are reached.
                    let plausible = random.next() % 4 != 0
                    try guest.memory.store(plausible ? Guest.Place.data &+ random.next() % 0x4000 : Self.number(&random), at: place + index * 16)
                    try guest.memory.store(plausible ? UInt32(random.next() % 1025) : UInt32(truncatingIfNeeded: Self.number(&random)), at: place + index * 16 + 8)
                    try guest.memory.store(UInt16(truncatingIfNeeded: plausible ? random.next() % 4 : random.next()), at: place + index * 16 + 12)
                    try guest.memory.store(UInt16(truncatingIfNeeded: plausible ? random.next() % size : random.next()), at: place + index * 16 + 14)
                }
            }
            for _ in 0..<8 {
                try guest.writeHeader([0, 1, 4, 8, 11, 13, 99][Int(random.next() % 7)], sector: random.next() % 2 == 0 ? random.next() % 3000 : Self.number(&random), at: Guest.Place.data &+ random.next() % 0x4000)
            }
            guest.fake.isHolding = random.next() % 3 == 0
            // A reset waits for the storage.
            guest.fake.reapsToHold = 2
            for _ in 0..<random.next() % 12 {
                if random.next() % 16 == 0 {
                    try guest.memory.store(UInt16(truncatingIfNeeded: random.next()), at: Guest.Place.available + 2)
                } else {
                    try guest.offer(UInt16(truncatingIfNeeded: random.next() % 8 == 0 ? random.next() : random.next() % size))
                }
                guest.serve()
            }
            // Requests with a valid header at the start of a valid chain.
            try guest.writeHeader([0, 1, 4, 8, 11, 13][Int(random.next() % 6)], sector: random.next() % 2100)
            try guest.memory.store(Guest.Place.header, at: Guest.Place.descriptors)
            try guest.memory.store(UInt32(16), at: Guest.Place.descriptors + 8)
            try guest.memory.store(UInt16(1), at: Guest.Place.descriptors + 12)
            try guest.offer(0)
            guest.serve()
            if seed % 16 == 0 { try Self.expectAlive(guest, seed) }
        }
        try Self.expectAlive(guest, .max)
        #expect(guest.fake.maximumInFlight <= guest.fake.inFlightLimit)
        let slots = guest.transport.state.withLock { ($0.device as? VirtioBlock)?.slots.footprint ?? .max }
        #expect(slots <= 256 * 1024)
    }
}
