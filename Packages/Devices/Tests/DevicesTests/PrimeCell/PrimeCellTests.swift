import AddressSpace
import Synchronization
import Testing

@testable import Devices

extension RegionOps {
    func word(_ offset: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: read(offset: offset, size: 4)) }
    func set(_ offset: UInt64, _ value: UInt32) { write(offset: offset, size: 4, value: UInt64(value)) }
}

/// What all three have in common.
@Suite struct PrimeCellTests {
    private static func cells() -> [(String, any RegionOps, identity: UInt32)] {
        [
            ("pl011", PL011(line: FakeLine(), backend: FakeBackend()), 0x0034_1011),
            ("pl031", PL031(line: FakeLine(), loop: nil), 0x0004_1031),
            ("pl061", PL061PowerKey(line: FakeLine()), 0x0004_1061),
        ]
    }

    /// As Linux's amba_read_periphid does: the last 32 bytes of the region, a byte from each word.
    @Test func identity_isWhatLinuxMatchesDriversBy() {
        func bytes(_ cell: any RegionOps, _ offset: UInt64) -> UInt32 {
            (0..<4).reduce(0) { $0 | (cell.word(offset + UInt64($1) * 4) & 0xFF) << (UInt32($1) * 8) }
        }
        for (name, cell, identity) in Self.cells() {
            #expect(bytes(cell, 0xFE0) == identity, "\(name)")
            #expect(bytes(cell, 0xFF0) == 0xB105_F00D, "\(name)")
            cell.set(0xFE0, 0)
            #expect(bytes(cell, 0xFE0) == identity, "\(name) is read only")
        }
    }

    @Test func accesses_ofOneTwoAndFourBytes_reachARegister_othersNothing() {
        for (name, cell, _) in Self.cells() {
            let register: UInt64 = name == "pl061" ? 0x420 : name == "pl031" ? 0x004 : 0x024
            for (size, expected) in [(1, 0x5A), (2, 0x5A), (4, 0x5A)] as [(Int, UInt64)] {
                cell.set(register, 0)
                cell.write(offset: register, size: size, value: 0x5A)
                #expect(cell.read(offset: register, size: size) == expected, "\(name), \(size) bytes")
            }
            for (offset, size) in [(1, 1), (2, 2), (3, 1), (1, 4), (0, 3), (0, 8), (0, 0), (0, -1), (0, 64), (0, .max), (0, .min)] as [(UInt64, Int)] {
                cell.write(offset: register + offset, size: size, value: .max)
                #expect(cell.word(register) == 0x5A, "\(name), \(size) bytes at \(offset)")
                #expect(cell.read(offset: register + offset, size: size) == 0, "\(name), \(size) bytes at \(offset)")
            }
        }
    }

    /// The bus cuts wider accesses into words, lowest address first.
    @Test func places_doNotCollide_andWideAccessesAreCut() throws {
        let memory = AddressSpace(name: "memory", size: 1 << 40)
        let backend = FakeBackend()
        let timer = BootTimer { 7 }
        try timer.attach(toMemory: memory.root)
        try PL011(line: FakeLine(gsi: PL011.gsi), backend: backend).attach(to: memory.root)
        try PL031(line: FakeLine(gsi: PL031.gsi), loop: nil).attach(to: memory.root)
        try PL061PowerKey(line: FakeLine(gsi: PL061PowerKey.gsi)).attach(to: memory.root)
        #expect(memory.read(at: 0x0900_0FE0, size: 8) == 0x10_0000_0011)
        #expect(memory.read(at: 0x0901_0FE0, size: 4) == 0x31)
        #expect(memory.read(at: 0x0903_0FE0, size: 4) == 0x61)
        #expect(memory.write(at: 0x0900_0024, size: 8, value: 0x0000_0007_0000_1234))
        #expect(memory.read(at: 0x0900_0024, size: 8) == 0x0000_0007_0000_1234)
        // The boot timer's word is in the PL011's page and not its own.
        #expect(memory.write(at: 0x0900_0F00, size: 4, value: 1))
        #expect(timer.marks.kernel == 7)
        #expect(memory.read(at: 0x0900_0F04, size: 4) == 0)
        #expect(memory.write(at: 0x0900_0000, size: 1, value: 0x41))
        #expect(backend.sent == [0x41])
        #expect(memory.read(at: 0x0900_1000, size: 4) == nil)
    }

    /// Anything at any register, while the host does what it may: no trap, and the line always says what the registers say.
    @Test(arguments: [1, 2, 3] as [UInt64]) func randomAccesses_doNoHarm(seed: UInt64) {
        var random = Seeded(state: seed)
        let lines = (0..<3).map { _ in FakeLine() }
        let backend = FakeBackend()
        let time = Atomic<UInt64>(1 << 60)
        let uart = PL011(line: lines[0], backend: backend)
        let clock = PL031(line: lines[1], loop: nil) { time.load(ordering: .relaxed) }
        let key = PL061PowerKey(line: lines[2])
        let cells: [(any RegionOps, status: UInt64)] = [(uart, 0x040), (clock, 0x018), (key, 0x418)]
        for _ in 0..<100_000 {
            let index = Int.random(in: 0..<3, using: &random)
            let (cell, status) = cells[index]
            let limit: UInt64 = index == 2 ? 0x430 : 0x50
            let offset = random.next() % 8 == 0 ? random.next() : UInt64.random(in: 0..<limit, using: &random) & ~(random.next() % 8 == 0 ? 0 : 3)
            let size = random.next() % 8 == 0 ? Int(truncatingIfNeeded: random.next()) : [1, 2, 4][Int.random(in: 0..<3, using: &random)]
            if Bool.random(using: &random) {
                _ = cell.read(offset: offset, size: size)
            } else {
                cell.write(offset: offset, size: size, value: random.next())
            }
            switch random.next() % 64 {
            case 0: uart.receive([UInt8](repeating: 0x55, count: Int.random(in: 0...2000, using: &random))[...])
            case 1: backend.open(Int.random(in: 1...50, using: &random))
            case 2: uart.transmitReady()
            case 3: key.press()
            case 4: clock.timerFired()
            case 5: time.store(random.next(), ordering: .relaxed)
            default: break
            }
            // The status register's read is itself a look, after which input may have come into sight.
            let isAsserted = cell.word(status) != 0
            if lines[index].level != isAsserted, lines[index].level != (cell.word(status) != 0) { Issue.record("line \(index)") }
            if !(0...1024).contains(uart.receiveRoom()) { Issue.record("backlog") }
        }
    }
}

/// xorshift64.
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
