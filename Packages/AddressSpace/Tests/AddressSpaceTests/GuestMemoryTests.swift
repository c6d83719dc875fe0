import Foundation
import LinuxSys
import Testing

@testable import AddressSpace

/// RAM at 0x1000..<0x3000 and, from another mapping, 0x3000..<0x4000; a device at 0x4000; a hole; RAM at 0x8000..<0x9000;
/// ROM (read-only RAM) at 0x9000; a ROM device at 0xa000 and a RAM device at 0xb000; RAM at the very end of the space.
struct GuestMemoryTests {
    let space = AddressSpace(name: "space", size: .max)
    let ops = RecordingOps()
    var memory: GuestMemory { space.memory }
    static let top = UInt64.max - 0x1000

    init() throws {
        try space.transaction { () throws(AddressSpaceError) in
            try space.root.add(ram("a", 0x2000), at: 0x1000)
            try space.root.add(ram("b", 0x1000), at: 0x3000)
            try space.root.add(io("device", 0x1000, ops), at: 0x4000)
            try space.root.add(ram("c", 0x1000), at: 0x8000)
            try space.root.add(ram("rom", 0x1000, readOnly: true), at: 0x9000)
            try space.root.add(
                .romDevice(name: "flash", size: 0x1000, memory: .anonymous(size: 0x1000), ops: ops), at: 0xa000)
            try space.root.add(.ramDevice(name: "bar", size: 0x1000, memory: .anonymous(size: 0x1000)), at: 0xb000)
            try space.root.add(ram("top", 0x1000), at: GuestMemoryTests.top)
        }
    }

    @Test func scalars_roundTrip_littleEndianAnyAlignment() throws {
        try memory.store(0x1122_3344_5566_7788 as UInt64, at: 0x1001)
        #expect(try memory.load(UInt64.self, at: 0x1001) == 0x1122_3344_5566_7788)
        #expect(try memory.load(UInt32.self, at: 0x1001) == 0x5566_7788)
        #expect(try memory.load(UInt16.self, at: 0x1003) == 0x5566)
        #expect(try memory.load(UInt8.self, at: 0x1008) == 0x11)
        try memory.store(-2 as Int32, at: 0x2ffc)
        #expect(try memory.load(Int32.self, at: 0x2ffc) == -2)
        #expect(try memory.load(Int64.self, at: 0x2ff8) == -2 << 32)
        try memory.store(0xbeef as UInt16, at: GuestMemoryTests.top + 0xffe)
        #expect(try memory.load(UInt16.self, at: GuestMemoryTests.top + 0xffe) == 0xbeef)
    }

    @Test func ringIndices_areOneAlignedAccess() throws {
        try memory.storeRelease16(0xabcd, at: 0x1002)
        #expect(try memory.loadAcquire16(at: 0x1002) == 0xabcd)
        #expect(throws: GuestMemoryError.misaligned(address: 0x1003)) { try memory.loadAcquire16(at: 0x1003) }
        #expect(throws: GuestMemoryError.misaligned(address: 0x1003)) { try memory.storeRelease16(0, at: 0x1003) }
        #expect(throws: GuestMemoryError.notRAM(address: 0x4000)) { try memory.loadAcquire16(at: 0x4000) }
    }

    @Test func ringIndex_inRAMOfOddHostAddress_isMisaligned() throws {
        let odd = AddressSpace(name: "odd", size: 0x10000)
        try odd.root.add(.ram(name: "odd", size: 100, memory: .anonymous(size: 4096), memoryOffset: 1), at: 0)
        #expect(throws: GuestMemoryError.misaligned(address: 2)) { try odd.memory.loadAcquire16(at: 2) }
    }

    @Test func hole_isNotRAM() {
        #expect(throws: GuestMemoryError.notRAM(address: 0)) { try memory.load(UInt8.self, at: 0) }
        #expect(throws: GuestMemoryError.notRAM(address: 0xfff)) { try memory.load(UInt16.self, at: 0xfff) }
        #expect(throws: GuestMemoryError.notRAM(address: 0x5000)) { try memory.hostRange(at: 0x5000, count: 1) }
        #expect(throws: GuestMemoryError.notRAM(address: .max)) { try memory.load(UInt8.self, at: .max) }
    }

    @Test func accessOverTheEnd_isRefusedAndWritesNothing() throws {
        #expect(throws: GuestMemoryError.crossesEnd(address: 0x3ffd, count: 4)) { try memory.load(UInt32.self, at: 0x3ffd) }
        #expect(throws: GuestMemoryError.crossesEnd(address: 0x3f00, count: 0x101)) { try memory.fill(at: 0x3f00, count: 0x101, byte: 9) }
        #expect(throws: GuestMemoryError.crossesEnd(address: 0x3f00, count: 0x101)) {
            try memory.write(at: 0x3f00, bytes: [UInt8](repeating: 9, count: 0x101))
        }
        #expect(try memory.load(UInt64.self, at: 0x3f00) == 0)
        #expect(throws: GuestMemoryError.crossesEnd(address: 0x8001, count: 0x8000)) { try memory.hostRange(at: 0x8001, count: 0x8000) }
    }

    @Test(arguments: [.max, .max - 1, .max / 2, 1 << 63, .max - 0x1000] as [UInt64])
    func lengthThatWrapsOrIsHuge_isRefused(count: UInt64) {
        #expect(throws: GuestMemoryError.self) { try memory.hostRange(at: 0x1000, count: count) }
        #expect(throws: GuestMemoryError.self) { try memory.fill(at: 0x1000, count: count) }
        #expect(throws: GuestMemoryError.self) { try memory.bytes(at: 0x1000, count: count) }
        #expect(throws: GuestMemoryError.self) { try memory.forEachHostRange(at: 0x1000, count: count) { _ in } }
        #expect(!memory.isRAM(at: 0x1000, count: count))
    }

    @Test func wrap_isNamed() {
        let start = GuestMemoryTests.top + 8
        #expect(throws: GuestMemoryError.wraps(address: start, count: .max)) { try memory.fill(at: start, count: .max) }
        #expect(throws: GuestMemoryError.wraps(address: start, count: .max)) { try memory.hostRange(at: start, count: .max) }
        #expect(throws: GuestMemoryError.crossesEnd(address: start, count: 0xff9)) { try memory.hostRange(at: start, count: 0xff9) }
        #expect(throws: GuestMemoryError.wraps(address: .max, count: 2)) { try memory.fill(at: .max, count: 2) }
    }

    @Test func zeroLength_isRefused() throws {
        #expect(throws: GuestMemoryError.zeroLength(address: 0x1000)) { try memory.hostRange(at: 0x1000, count: 0) }
        #expect(throws: GuestMemoryError.zeroLength(address: 0x1000)) { try memory.fill(at: 0x1000, count: 0) }
        #expect(throws: GuestMemoryError.zeroLength(address: 0x1000)) { try memory.write(at: 0x1000, bytes: []) }
        #expect(throws: GuestMemoryError.zeroLength(address: 0x1000)) { try memory.bytes(at: 0x1000, count: 0) }
        #expect(throws: GuestMemoryError.zeroLength(address: 0x1000)) { try memory.forEachHostRange(at: 0x1000, count: 0) { _ in } }
        var none: [UInt8] = []
        #expect(throws: GuestMemoryError.zeroLength(address: 0x1000)) { try memory.read(at: 0x1000, into: &none) }
    }

    /// CVE-2021-3416, CVE-2021-20255, CVE-2024-3446: DMA that re-enters devices.
    @Test(arguments: [0x4000, 0xa000, 0xb000] as [UInt64])
    func dmaToDeviceMemory_isRefused(address: UInt64) throws {
        #expect(throws: GuestMemoryError.notRAM(address: address)) { try memory.load(UInt32.self, at: address) }
        #expect(throws: GuestMemoryError.notRAM(address: address)) { try memory.store(0 as UInt32, at: address) }
        #expect(throws: GuestMemoryError.notRAM(address: address)) { try memory.hostRange(at: address, count: 4) }
        #expect(throws: GuestMemoryError.notRAM(address: address)) { try memory.write(at: address, bytes: [1]) }
        #expect(ops.reads == [] && ops.writes == [])
    }

    @Test func dmaFromRAMIntoMMIO_isRefused() {
        #expect(throws: GuestMemoryError.crossesEnd(address: 0x3ff0, count: 0x20)) { try memory.hostRange(at: 0x3ff0, count: 0x20) }
        #expect(throws: GuestMemoryError.crossesEnd(address: 0x3ff0, count: 0x20)) { try memory.bytes(at: 0x3ff0, count: 0x20) }
        #expect(ops.reads == [])
    }

    @Test func readOnlyRAM_isReadableOnly() throws {
        #expect(try memory.load(UInt64.self, at: 0x9000) == 0)
        #expect(throws: GuestMemoryError.readOnly(address: 0x9010)) { try memory.store(1 as UInt8, at: 0x9010) }
        #expect(throws: GuestMemoryError.readOnly(address: 0x9000)) { try memory.fill(at: 0x8ff0, count: 0x20) }
        #expect(throws: GuestMemoryError.readOnly(address: 0x9000)) { try memory.hostRange(at: 0x9000, count: 1) }
        #expect(try memory.hostRange(at: 0x9000, count: 1, for: .read).count == 1)
    }

    @Test func bulk_goesOverAdjacentRegions() throws {
        let data = (0..<0x1800).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try memory.write(at: 0x2700, bytes: data)
        #expect(try memory.bytes(at: 0x2700, count: 0x1800) == data)
        #expect(try memory.load(UInt8.self, at: 0x3000) == data[0x900])
        try memory.fill(at: 0x2fff, count: 2, byte: 0xee)
        #expect(try memory.bytes(at: 0x2ffe, count: 4) == [data[0x8fe], 0xee, 0xee, data[0x901]])
    }

    @Test func hostRange_isOnePiece_forEachGivesAll() throws {
        let whole = try memory.hostRange(at: 0x1000, count: 0x2000)
        #expect(whole.count == 0x2000)
        let b = try memory.hostRange(at: 0x3000, count: 0x1000)
        // Separate mappings have guard pages around them, so they are never contiguous.
        #expect(throws: GuestMemoryError.notContiguous(address: 0x2ff0, count: 0x20)) { try memory.hostRange(at: 0x2ff0, count: 0x20) }
        #expect(throws: GuestMemoryError.notContiguous(address: 0x2fff, count: 2)) { try memory.load(UInt16.self, at: 0x2fff) }
        var pieces: [HostRange] = []
        try memory.forEachHostRange(at: 0x2ff0, count: 0x20) { piece throws(GuestMemoryError) in pieces.append(piece) }
        #expect(pieces == [HostRange(address: whole.address + 0x1ff0, count: 0x10), HostRange(address: b.address, count: 0x10)])
    }

    @Test func adjacentPiecesOfOneMapping_areOneHostRange() throws {
        let two = AddressSpace(name: "two", size: 0x10000)
        let host = try HostMemory.anonymous(size: 0x2000)
        try two.root.add(.ram(name: "low", size: 0x1000, memory: host), at: 0)
        try two.root.add(.ram(name: "high", size: 0x1000, memory: host, memoryOffset: 0x1000), at: 0x1000)
        #expect(try two.memory.hostRange(at: 0xff0, count: 0x20) == HostRange(address: host.address + 0xff0, count: 0x20))
        try two.memory.store(0x0102_0304 as UInt32, at: 0xffe)
        #expect(try two.memory.load(UInt32.self, at: 0xffe) == 0x0102_0304)
        #expect(two.memory.ramRanges() == [.init(base: 0, size: 0x2000, readOnly: false)])
        #expect(two.flatRanges().count == 2)
    }

    @Test func ramRanges_listOnlyRAM() {
        #expect(memory.ramRanges().map(\.base) == [0x1000, 0x3000, 0x8000, 0x9000, GuestMemoryTests.top])
        #expect(memory.ramRanges().map(\.readOnly) == [false, false, false, true, false])
    }

    @Test func guestLength_neverSizesAnAllocation() {
        #expect(throws: GuestMemoryError.tooLong(count: 0x2000)) { try memory.bytes(at: 0x1000, count: 0x2000, limit: 0x1fff) }
    }

    @Test func integerWiderThan64Bits_isRefused() {
        #expect(throws: GuestMemoryError.tooLong(count: 16)) { try memory.load(UInt128.self, at: 0x1000) }
    }

    @Test func readFile_goesStraightIntoRAM_overRegions() throws {
        let path = NSTemporaryDirectory() + "addressspace-\(UUID().uuidString)"
        let data = Data((0..<0x2000).map { UInt8(truncatingIfNeeded: $0 &* 13) })
        try data.write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let file = try SysFile.open(path, .readOnly)
        try memory.readFile(file, fileOffset: 0x10, count: 0x1000, into: 0x2800)
        #expect(try memory.bytes(at: 0x2800, count: 0x1000) == [UInt8](data[0x10..<0x1010]))
        #expect(throws: GuestMemoryError.endOfFile) { try memory.readFile(file, fileOffset: 0x1fff, count: 2, into: 0x1000) }
        #expect(throws: GuestMemoryError.tooLong(count: 1)) { try memory.readFile(file, fileOffset: .max, count: 1, into: 0x1000) }
        #expect(throws: GuestMemoryError.notRAM(address: 0x4000)) { try memory.readFile(file, fileOffset: 0, count: 1, into: 0x4000) }
        #expect(throws: GuestMemoryError.file(Errno(EBADF))) {
            try memory.readFile(OwnedFD(adopting: -1), fileOffset: 0, count: 1, into: 0x1000)
        }
    }
}
