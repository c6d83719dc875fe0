import BootTestSupport
import BootX86
import Testing

@Suite struct BootTableTests {
    @Test func longModeDescriptorTables_haveCodeAt0x10AndDataAt0x18() {
        let tables = DescriptorTables.long
        #expect(tables.bytes.get(UInt64.self, at: 0) == 0)
        #expect(tables.bytes.get(UInt64.self, at: 8) == 0)
        #expect(tables.bytes.get(UInt64.self, at: 0x10) == 0x00af_9b00_0000_ffff)
        #expect(tables.bytes.get(UInt64.self, at: 0x18) == 0x00cf_9300_0000_ffff)
        #expect(tables.bytes.get(UInt64.self, at: 0x20) == 0)
        #expect(tables.bytes.count == 40)
        #expect(tables.gdtLimit == 31 && tables.idtLimit == 7)
    }

    @Test func pvhDescriptorTables_areFlat32BitWithATask() {
        let tables = DescriptorTables.flat32
        #expect(tables.bytes.get(UInt64.self, at: 0x8) == 0x00cf_9b00_0000_ffff)
        #expect(tables.bytes.get(UInt64.self, at: 0x10) == 0x00cf_9300_0000_ffff)
        #expect(tables.bytes.get(UInt64.self, at: 0x18) == 0x0000_8b00_0000_0067)
        #expect(tables.bytes.get(UInt64.self, at: 0x20) == 0)
    }

    @Test func descriptor_encodesBaseAndLimitInTheirPieces() {
        let segment = SegmentDescriptor(flags: 0x4092, base: 0x1234_5678, limit: 0xa_bcde)
        #expect(segment.encoded == 0x124a_9234_5678_bcde)
        #expect(segment.byteLimit == 0xa_bcde)
        #expect(SegmentDescriptor.code64.byteLimit == 0xffff_ffff)
        #expect(SegmentDescriptor.code64.long && !SegmentDescriptor.code64.default32)
        #expect(!SegmentDescriptor.code32.long && SegmentDescriptor.code32.default32)
    }

    @Test func pageTables_mapOneGibibyteOntoItself() {
        let tables = IdentityPageTables.bytes
        #expect(tables.count == 0x3000)
        #expect(tables.get(UInt64.self, at: 0) == 0xa003)
        #expect(tables[8..<0x1000].allSatisfy { $0 == 0 })
        #expect(tables.get(UInt64.self, at: 0x1000) == 0xb003)
        #expect(tables[0x1008..<0x2000].allSatisfy { $0 == 0 })
        #expect(tables.get(UInt64.self, at: 0x2000) == 0x83)
        #expect(tables.get(UInt64.self, at: 0x2008) == 0x20_0083)
        #expect(tables.get(UInt64.self, at: 0x2ff8) == 0x3fe0_0083)
    }

    private func map(_ size: UInt64, gap: UInt64 = 3 << 30, acpi: Bool = false) throws -> [[UInt64]] {
        try X86MemoryLayout(ramSize: size, gapStart: gap).memoryMap(acpiTables: acpi)
            .map { [$0.start, $0.start + $0.size, UInt64($0.kind.rawValue)] }
    }

    private let below1MiB: [[UInt64]] = [[0, 0x9fc00, 1], [0x9fc00, 0xa0000, 2], [0xd0000, 0x100000, 2]]

    @Test func memoryMap_endsWithRAMBelowTheGap() throws {
        #expect(try map(128 << 20) == below1MiB + [[0x10_0000, 128 << 20, 1]])
        #expect(try map(1 << 30) == below1MiB + [[0x10_0000, 1 << 30, 1]])
        #expect(try map(3 << 30) == below1MiB + [[0x10_0000, 3 << 30, 1]])
    }

    @Test func memoryMap_continuesAt4GiBBehindTheGap() throws {
        #expect(
            try map(5 << 30) == below1MiB + [[0x10_0000, 3 << 30, 1], [4 << 30, 6 << 30, 1]])
        #expect(
            try map(5 << 30, gap: 2 << 30) == below1MiB + [[0x10_0000, 2 << 30, 1], [4 << 30, 7 << 30, 1]])
        #expect(try map((3 << 30) + 4096).last == [4 << 30, (4 << 30) + 4096, 1])
    }

    @Test func memoryMap_withACPIMarksTheTables() throws {
        let map = try map(128 << 20, acpi: true)
        #expect(map[2] == [0xd0000, 0xe0000, 2])
        #expect(map[3] == [0xe0000, 0x100000, 3])
    }

    @Test func layout_impossibleSizesAreRefused() {
        #expect(throws: X86BootPlanError.memoryTooSmall((2 << 20) - 1)) {
            _ = try X86MemoryLayout(ramSize: (2 << 20) - 1)
        }
        #expect(throws: X86BootPlanError.badMemoryGap(start: 5 << 30, end: 4 << 30)) {
            _ = try X86MemoryLayout(ramSize: 1 << 30, gapStart: 5 << 30)
        }
        #expect(throws: X86BootPlanError.badMemoryGap(start: 3 << 30, end: 4 << 30)) {
            _ = try X86MemoryLayout(ramSize: .max)
        }
    }
}
