import AddressSpace
import LinuxSys
import Synchronization
import Testing

final class Counters: Sendable {
    let stop = Atomic<Bool>(false)
    let reads = Atomic<Int>(0)
    let wrong = Atomic<Int>(0)
}

/// Answers with its own number and counts how many of its kind live.
final class NumberedOps: RegionOps {
    static let alive = Atomic<Int>(0)
    let number: UInt64
    init(number: UInt64) {
        self.number = number
        NumberedOps.alive.add(1, ordering: .relaxed)
    }
    deinit { NumberedOps.alive.subtract(1, ordering: .relaxed) }
    func read(offset: UInt64, size: Int) -> UInt64 { number }
    func write(offset: UInt64, size: Int, value: UInt64) {}
}

@Suite(.serialized)
struct ConcurrencyTests {
    /// Readers must always see one whole view: at each address one of two devices and never a hole, since they are swapped in one
    /// transaction; the RAM below it keeps its contents.
    @Test func readers_duringCommits_seeOldOrNewNeverHalf() throws {
        let space = AddressSpace(name: "space", size: 0x10000)
        let counters = Counters()
        try space.root.add(ram("ram", 0x4000), at: 0)
        for slot: UInt64 in 0..<0x800 { try space.memory.store(slot, at: slot * 8) }
        var current = try io("device", 0x100, NumberedOps(number: 1))
        try space.root.add(current, at: 0x8000)
        var threads: [OSThread] = []
        for index in 0..<4 {
            threads.append(
                try OSThread.start(name: "reader \(index)") {
                    var generator = SeededGenerator(seed: UInt64(index))
                    var buffer = [UInt8](repeating: 0, count: 64)
                    while !counters.stop.load(ordering: .relaxed) {
                        let value = space.read(at: 0x8000 + UInt64.random(in: 0..<0x100, using: &generator), size: 1)
                        let slot = UInt64.random(in: 0..<0x800, using: &generator)
                        let stored = try? space.memory.load(UInt64.self, at: slot * 8)
                        let bulk: Void? = try? space.memory.read(at: (slot & ~7) * 8, into: &buffer)
                        if value != 1 && value != 2 || stored != slot || bulk == nil || buffer[0] != UInt8(truncatingIfNeeded: slot & ~7) {
                            counters.wrong.add(1, ordering: .relaxed)
                        }
                        if space.read(at: 0x9000, size: 4) != nil { counters.wrong.add(1, ordering: .relaxed) }
                        counters.reads.add(1, ordering: .relaxed)
                    }
                })
        }
        var commits: UInt64 = 0
        while commits < 2000 || counters.reads.load(ordering: .relaxed) < 20_000 {
            commits += 1
            let next = try io("device", 0x100, NumberedOps(number: 1 + commits % 2))
            try space.transaction { () throws(AddressSpaceError) in
                try space.root.remove(current)
                try space.root.add(next, at: 0x8000)
            }
            current = next
        }
        counters.stop.store(true, ordering: .relaxed)
        for thread in threads { thread.join() }
        #expect(counters.wrong.load(ordering: .relaxed) == 0)
        // The last commit may have met a reader; with none left, the next frees all that is retired.
        try space.root.add(io("last", 1), at: 0xf000)
        #expect(NumberedOps.alive.load(ordering: .relaxed) == 1, "every view that was replaced was freed")
    }

    /// RAM that comes and goes under readers: an access succeeds or is refused, and never touches unmapped memory.
    @Test func ram_removedUnderReaders_isServedOrRefused() throws {
        let space = AddressSpace(name: "space", size: 0x100000)
        let counters = Counters()
        var threads: [OSThread] = []
        for index in 0..<3 {
            threads.append(
                try OSThread.start(name: "reader \(index)") {
                    var buffer = [UInt8](repeating: 0, count: 0x2000)
                    while !counters.stop.load(ordering: .relaxed) {
                        do throws(GuestMemoryError) {
                            try space.memory.read(at: 0x1000, into: &buffer)
                            if buffer.contains(where: { $0 != 0 && $0 != 0x5a }) { counters.wrong.add(1, ordering: .relaxed) }
                        } catch {
                            if error != .notRAM(address: 0x1000) && error != .notRAM(address: 0x2000) { counters.wrong.add(1, ordering: .relaxed) }
                        }
                        counters.reads.add(1, ordering: .relaxed)
                    }
                })
        }
        for _ in 0..<500 {
            let region = try ram("ram", 0x3000)
            try space.root.add(region, at: 0x1000)
            try space.memory.fill(at: 0x1000, count: 0x3000, byte: 0x5a)
            try space.root.remove(region)
            _ = space.releaseHiddenMemory()
        }
        counters.stop.store(true, ordering: .relaxed)
        for thread in threads { thread.join() }
        #expect(counters.wrong.load(ordering: .relaxed) == 0)
        #expect(counters.reads.load(ordering: .relaxed) > 0)
    }

    @Test func transactions_fromSeveralThreads_allArrive() throws {
        let space = AddressSpace(name: "space", size: 0x10000)
        let listener = RecordingListener()
        try space.addListener(listener)
        let counters = Counters()
        let threads = try (0..<4 as Range<UInt64>).map { index in
            try OSThread.start(name: "writer") {
                for step: UInt64 in 0..<50 {
                    do throws(AddressSpaceError) {
                        let region = try io("r", 8)
                        try space.root.add(region, at: index * 0x1000 + step * 8)
                        if step % 2 == 0 { try space.root.remove(region) }
                    } catch {
                        counters.wrong.add(1, ordering: .relaxed)
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(counters.wrong.load(ordering: .relaxed) == 0)
        #expect(space.flatRanges().count == 100)
        #expect(listener.ranges == space.flatRanges())
        #expect(listener.complaints == [])
    }
}
