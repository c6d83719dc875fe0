@testable import Hypervisor
import Testing

@Suite struct MemorySlotsTests {
    private func piece(_ base: UInt64, _ size: UInt64) throws -> MemoryPiece {
        try #require(try MemoryPiece(base: base, size: size, host: 0x7000_0000_0000 + base, readOnly: false, pageSize: 4096))
    }

    @Test func slots_givenBack_areUsedAgain() throws {
        var slots = MemorySlots(limit: 2)
        #expect(try slots.add(piece(0, 0x1000)).slot == 0)
        #expect(try slots.add(piece(0x1000, 0x1000)).slot == 1)
        #expect(throws: MemorySlotError.exhausted(limit: 2)) { try slots.add(piece(0x2000, 0x1000)) }
        #expect(slots.remove(base: 0)?.slot == 0)
        #expect(slots.remove(base: 0) == nil)
        #expect(try slots.add(piece(0x2000, 0x1000)).slot == 0)
        #expect(slots.entries.map(\.piece.base) == [0x1000, 0x2000])
    }

    @Test func add_overlappingPiece_isRefusedAndChangesNothing() throws {
        var slots = MemorySlots(limit: 10)
        _ = try slots.add(piece(0x4000, 0x4000))
        for (base, size) in [(UInt64(0x4000), UInt64(0x1000)), (0x3000, 0x2000), (0x7000, 0x1000), (0, 0x10000), (0x5000, 0x1000)] {
            #expect(throws: MemorySlotError.overlaps(base: base)) { try slots.add(piece(base, size)) }
        }
        #expect(slots.entries.count == 1)
        _ = try slots.add(piece(0x3000, 0x1000))
        _ = try slots.add(piece(0x8000, 0x1000))
        #expect(slots.entries.map(\.slot) == [1, 0, 2])
    }

    @Test func piece_raggedEdges_keepsWholePagesOnly() throws {
        let piece = try MemoryPiece(base: 0x1800, size: 0x2000, host: 0x10800, readOnly: true, pageSize: 4096)
        #expect(piece?.base == 0x2000)
        #expect(piece?.size == 0x1000)
        #expect(piece?.host == 0x11000)
        #expect(try MemoryPiece(base: 0x1800, size: 0x800, host: 0x1800, readOnly: false, pageSize: 4096) == nil)
        #expect(try MemoryPiece(base: 0x1000, size: 0xFFF, host: 0x1000, readOnly: false, pageSize: 4096) == nil)
        #expect(try MemoryPiece(base: 0xFFFF_FFFF_FFFF_FFFE, size: 1, host: 0, readOnly: false, pageSize: 4096) == nil)
    }

    @Test func piece_thatCannotBeMapped_isAnError() {
        #expect(throws: MemorySlotError.misaligned(base: 0x1000)) {
            try MemoryPiece(base: 0x1000, size: 0x1000, host: 0x10, readOnly: false, pageSize: 4096)
        }
        #expect(throws: MemorySlotError.wraps(base: .max)) {
            try MemoryPiece(base: .max, size: 2, host: 0, readOnly: false, pageSize: 4096)
        }
    }

    @Test func slots_randomAddsAndRemoves_neverShareASlotOrAPage() throws {
        var slots = MemorySlots(limit: 64)
        var seed: UInt64 = 42
        for _ in 0..<5000 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let base = (seed >> 33 & 0xFF) << 12
            if seed >> 60 & 1 == 0 {
                _ = try? slots.add(piece(base, (1 + (seed >> 50 & 7)) << 12))
            } else {
                _ = slots.remove(base: base)
            }
            #expect(Set(slots.entries.map(\.slot)).count == slots.entries.count)
            #expect(zip(slots.entries, slots.entries.dropFirst()).allSatisfy { $0.piece.end <= $1.piece.base })
        }
    }
}
