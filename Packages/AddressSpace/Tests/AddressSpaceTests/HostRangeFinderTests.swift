import AddressSpace
import Testing

/// RAM at 0x1000..<0x3000 and, from another mapping, 0x3000..<0x4000; ROM at 0x9000..<0xa000; RAM at the very end of the space.
@Suite struct HostRangeFinderTests {
    private let space = AddressSpace(name: "memory", size: .max)
    private static let top = UInt64.max - 0x1000

    init() throws {
        try space.root.add(ram("a", 0x2000), at: 0x1000)
        try space.root.add(ram("b", 0x1000), at: 0x3000)
        try space.root.add(ram("rom", 0x1000, readOnly: true), at: 0x9000)
        try space.root.add(ram("top", 0x1000), at: Self.top)
    }

    private func outcome(_ find: () throws(GuestMemoryError) -> HostRange) -> Result<HostRange, GuestMemoryError> { Result { () throws(GuestMemoryError) in try find() } }

    @Test func anyRange_isFoundOrRefusedAsByTheMemory_whateverWasFoundBefore() {
        let addresses: [UInt64] = [0, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3fff, 0x4000, 0x8fff, 0x9000, 0x9fff, Self.top, Self.top + 0xfff, .max]
        let counts: [UInt64] = [0, 1, 2, 0x1000, 0x1001, 0x2000, 0x2001, 1 << 40, .max - 0xfff, .max]
        for first in addresses {
            let finder = HostRangeFinder(space.memory)
            for gpa in addresses {
                for count in counts {
                    for access in [GuestMemory.Access.read, .write] {
                        _ = outcome { () throws(GuestMemoryError) in try finder.hostRange(at: first, count: 1, for: .read) }
                        let expected = outcome { () throws(GuestMemoryError) in try space.memory.hostRange(at: gpa, count: count, for: access) }
                        for _ in 0..<2 {
                            let found = outcome { () throws(GuestMemoryError) in try finder.hostRange(at: gpa, count: count, for: access) }
                            #expect(found == expected, "\(count) bytes at \(gpa) for \(access) after \(first)")
                        }
                    }
                }
            }
        }
    }

    @Test func pieceThatIsGone_orAnother_isNotFoundAnyMore() throws {
        let finder = HostRangeFinder(space.memory)
        let first = try ram("first", 0x1000)
        try space.root.add(first, at: 0x20000)
        let old = try finder.hostRange(at: 0x20000, count: 16)
        try space.root.remove(first)
        #expect(throws: GuestMemoryError.notRAM(address: 0x20000)) { try finder.hostRange(at: 0x20000, count: 16) }
        try space.root.add(ram("second", 0x1000, readOnly: true), at: 0x20000)
        #expect(throws: GuestMemoryError.readOnly(address: 0x20000)) { try finder.hostRange(at: 0x20000, count: 16) }
        #expect(try finder.hostRange(at: 0x20000, count: 16, for: .read) != old)
        #expect(try finder.hostRange(at: 0x20000, count: 16, for: .read) == space.memory.hostRange(at: 0x20000, count: 16, for: .read))
    }
}
