import Testing

@testable import Devices

private typealias Register = PL011Registers.Register
private typealias Interrupt = PL011Registers.Interrupt

private let rxEmpty: UInt32 = 0x10, txFull: UInt32 = 0x20, rxFull: UInt32 = 0x40, txEmpty: UInt32 = 0x80, busy: UInt32 = 0x08

/// Register by register.
@Suite struct PL011Tests {
    private let line = FakeLine()
    private let backend = FakeBackend()
    private let port: PL011

    init() { port = PL011(line: line, backend: backend) }

    /// UARTEN, TXE, RXE; FIFOs on, 8 bits.
    private func enable(fifos: Bool = true) {
        port.set(0x030, 0x301)
        port.set(0x02C, fifos ? 0x70 : 0x60)
    }

    private func raw(_ bit: UInt16) -> Bool { port.word(0x03C) & UInt32(bit) != 0 }

    @Test func reset_registers_areAsInTheManual() {
        for (offset, value) in [
            (0x000, 0), (0x004, 0), (0x018, 0x97), (0x020, 0), (0x024, 0), (0x028, 0), (0x02C, 0), (0x030, 0x300), (0x034, 0x12),
            (0x038, 0), (0x03C, 0), (0x040, 0), (0x044, 0), (0x048, 0), (0x00C, 0), (0x04C, 0), (0xF00, 0), (0xFDC, 0),
        ] as [(UInt64, UInt32)] { #expect(port.word(offset) == value, "\(String(offset, radix: 16))") }
        #expect(line.levelCalls == 0)
    }

    @Test func writableBits_areThoseOfTheManual() {
        for (offset, mask) in [
            (0x020, 0xFF), (0x024, 0xFFFF), (0x028, 0x3F), (0x02C, 0xFF), (0x030, 0xFF87), (0x034, 0x3F), (0x038, 0x7FF), (0x048, 7),
        ] as [(UInt64, UInt32)] {
            port.set(offset, .max)
            #expect(port.word(offset) == mask, "\(String(offset, radix: 16))")
            port.set(offset, 0)
            #expect(port.word(offset) == 0, "\(String(offset, radix: 16))")
        }
        for offset in [0x018, 0x03C, 0x040, 0xFE0] as [UInt64] {
            let before = port.word(offset)
            port.set(offset, ~before)
            #expect(port.word(offset) == before, "\(String(offset, radix: 16)) is read only")
        }
    }

    // MARK: Transmitter

    /// Linux's early console writes to a port that nobody has enabled.
    @Test func transmit_eachByte_reachesTheBackendInOrder() {
        for byte in UInt8.min...UInt8.max {
            #expect(port.word(0x018) & (txFull | txEmpty | busy) == txEmpty)
            port.write(offset: 0, size: 1, value: UInt64(byte))
        }
        #expect(backend.sent == Array(0...255))
        port.set(0, 0xFFFF_FF41)
        #expect(backend.sent.last == 0x41)
    }

    @Test func transmitInterrupt_isTheFirstByteLeaving_andOneLevelForMany() {
        enable()
        port.set(0x038, UInt32(Interrupt.transmit))
        #expect(!line.level, "nothing was sent yet")
        for byte in 0..<100 { port.set(0, UInt32(byte)) }
        #expect(line.level && line.levelCalls == 1)
        port.set(0x044, UInt32(Interrupt.transmit))
        #expect(!line.level)
        port.set(0, 1)
        #expect(line.level)
        port.set(0x038, 0)
        #expect(!line.level && raw(Interrupt.transmit) && port.word(0x040) == 0)
    }

    @Test func fullBackend_fillsTheFIFO_andDrainsInOrder() {
        enable()
        port.set(0x038, UInt32(Interrupt.transmit))
        backend.open(1)
        port.set(0, 0)
        #expect(port.word(0x018) & (txFull | txEmpty | busy) == txEmpty | busy)
        // More than half of the FIFO is above the trigger level.
        for byte in 1...16 { port.set(0, UInt32(byte)) }
        #expect(line.level)
        port.set(0, 17)
        #expect(!line.level && !raw(Interrupt.transmit))
        for byte in 18...31 { port.set(0, UInt32(byte)) }
        #expect(port.word(0x018) & (txFull | txEmpty | busy) == busy)
        port.set(0, 32)
        #expect(port.word(0x018) & (txFull | txEmpty | busy) == busy | txFull)
        port.set(0, 0xEE)  // lost
        #expect(backend.sent == [0])
        // The host takes ten: 22 are left, then the rest.
        backend.open(10)
        port.transmitReady()
        #expect(backend.sent == Array(0...10) && !line.level)
        #expect(port.word(0x018) & (txFull | txEmpty | busy) == busy)
        backend.open()
        port.transmitReady()
        #expect(backend.sent == Array(0...32) && line.level)
        #expect(port.word(0x018) & (txFull | txEmpty | busy) == txEmpty)
        port.set(0, 33)
        #expect(backend.sent == Array(0...33))
    }

    @Test(arguments: [(0, 4), (1, 8), (2, 16), (3, 24), (4, 28), (7, 16)] as [(UInt32, Int)])
    func transmitTrigger_isTheLevelInIFLS(code: UInt32, level: Int) {
        enable()
        port.set(0x034, code)
        backend.open(1)
        port.set(0, 0)
        for count in 1...32 {
            port.set(0, UInt32(count))
            #expect(raw(Interrupt.transmit) == (count <= level), "\(count)")
        }
        for left in stride(from: 31, through: 0, by: -1) {
            backend.open(1)
            port.transmitReady()
            #expect(raw(Interrupt.transmit) == (left <= level), "\(left)")
        }
    }

    @Test func withoutFIFOs_oneByteWaits() {
        enable(fifos: false)
        backend.open(1)
        port.set(0, 1)
        #expect(raw(Interrupt.transmit))
        port.set(0, 2)
        #expect(!raw(Interrupt.transmit) && port.word(0x018) & txFull != 0)
        port.set(0, 3)
        backend.open()
        port.transmitReady()
        #expect(raw(Interrupt.transmit) && backend.sent == [1, 2])
    }

    // MARK: Receiver

    @Test func receive_belowTheTrigger_isATimeout_andAtItTheInterrupt() {
        enable()
        port.set(0x038, UInt32(Interrupt.receive))
        port.receive(Array(0..<15)[...])
        #expect(!line.level && raw(Interrupt.receiveTimeout) && !raw(Interrupt.receive))
        port.receive([15])
        #expect(line.level && raw(Interrupt.receive))
        #expect(port.word(0) == 0)
        #expect(!line.level && !raw(Interrupt.receive))
        port.set(0x038, UInt32(Interrupt.receiveTimeout))
        #expect(line.level)
        for expected in 1...15 { #expect(port.word(0) == UInt32(expected)) }
        #expect(!line.level && port.word(0x03C) == 0 && port.word(0) == 0)
    }

    @Test(arguments: [(0, 4), (1, 8), (2, 16), (3, 24), (4, 28)] as [(UInt32, Int)])
    func receiveTrigger_isTheLevelInIFLS(code: UInt32, level: Int) {
        enable()
        port.set(0x034, code << 3)
        port.set(0x038, UInt32(Interrupt.receive))
        for count in 1...32 {
            port.receive([UInt8(count)])
            #expect(line.level == (count >= level), "\(count)")
        }
        #expect(port.word(0x018) & (rxFull | rxEmpty) == rxFull)
        for left in stride(from: 31, through: 0, by: -1) {
            _ = port.word(0)
            #expect(line.level == (left >= level), "\(left)")
        }
        #expect(port.word(0x018) & (rxFull | rxEmpty) == rxEmpty)
    }

    @Test func withoutFIFOs_oneByteIsVisible() {
        enable(fifos: false)
        port.set(0x038, UInt32(Interrupt.receive))
        port.receive([1, 2])
        #expect(line.level && port.word(0x018) & (rxFull | rxEmpty) == rxFull)
        #expect(port.word(0) == 1 && line.level)
        #expect(port.word(0) == 2 && !line.level)
    }

    @Test func receive_polled_needsNoInterruptAndNoSetUp() {
        port.receive(Array("hello".utf8)[...])
        var text: [UInt8] = []
        while port.word(0x018) & rxEmpty == 0 { text.append(UInt8(port.word(0))) }
        #expect(text == Array("hello".utf8) && line.levelCalls == 0)
    }

    @Test func disabledReceiver_seesNothing_andLosesNothing() {
        port.set(0x030, 0x101)
        port.receive([1, 2, 3])
        #expect(port.word(0x018) & rxEmpty != 0 && port.word(0) == 0)
        port.set(0x030, 0x301)
        #expect(port.word(0x018) & rxEmpty == 0 && port.word(0) == 1)
    }

    /// A handler that clears and does not read is called again, rather than never.
    @Test func clearedTimeout_comesAgainWhileBytesWait() {
        enable()
        port.set(0x038, UInt32(Interrupt.receiveTimeout))
        port.receive([1, 2])
        #expect(port.word(0) == 1)
        port.set(0x044, 0x7FF)
        #expect(line.level)
        #expect(port.word(0) == 2 && !line.level)
    }

    /// A handler that clears before it looks. The first time after set-up that is how Linux begins to discard: one look finds nothing, and then it is called again.
    @Test func clearBeforeReading_losesNothing() {
        port.set(0x038, UInt32(Interrupt.input))
        enable()
        port.receive([1, 2, 3])
        #expect(line.level)
        port.set(0x044, 0x7FF)
        #expect(!line.level)
        #expect(port.word(0x018) & rxEmpty != 0)
        #expect(line.level)
        for expected in 1...3 {
            port.set(0x044, 0x7FF)
            #expect(port.word(0x018) & rxEmpty == 0)
            #expect(port.word(0) == UInt32(expected))
        }
        #expect(!line.level)
    }

    /// Nor by one that reads without looking.
    @Test func clearAndReadWithoutLooking_losesNothing() {
        port.set(0x038, UInt32(Interrupt.input))
        enable()
        port.receive([1])
        port.set(0x044, 0x7FF)
        #expect(port.word(0) == 1 && !line.level)
    }

    /// CVE-2020-27174: a guest that never reads must not make the monitor grow.
    @Test func inputFlood_unreadByTheGuest_isBounded() {
        enable()
        #expect(port.receiveRoom() == 1024)
        for _ in 0..<100 { port.receive([UInt8](repeating: 0x55, count: 1024)[...]) }
        #expect(port.receiveRoom() == 0)
        var count = 0
        while port.word(0x018) & rxEmpty == 0 {
            _ = port.word(0)
            count += 1
        }
        #expect(count == 1024)
        #expect(backend.resumed == 1, "asked once, when half was read")
    }

    // MARK: Loopback

    @Test func loopback_returnsWhatIsSent_andOverruns() {
        enable()
        port.receive([0xAA])
        port.set(0x030, 0x381)
        port.set(0x038, UInt32(Interrupt.overrun))
        for byte in 0..<32 { port.set(0, UInt32(byte)) }
        #expect(!line.level && port.word(0x018) & rxFull != 0)
        port.set(0, 0xEE)
        #expect(line.level && port.word(0x004) == 0x08)
        #expect(port.word(0) == 0x800, "the overrun shows with the next byte read")
        #expect(port.word(0) == 1, "and only with that")
        #expect(port.word(0x004) == 0x08)
        port.set(0x004, 0)
        #expect(port.word(0x004) == 0)
        port.set(0x044, UInt32(Interrupt.overrun))
        #expect(!line.level)
        #expect((2..<32).allSatisfy { port.word(0) == UInt32($0) })
        #expect(backend.sent.isEmpty)
        port.set(0x030, 0x301)
        #expect(port.word(0) == 0xAA, "the host's input has waited")
    }

    @Test func loopback_break_isAByteWithItsError() {
        enable()
        port.set(0x030, 0x381)
        port.set(0x02C, 0x71)
        #expect(raw(Interrupt.breakError))
        port.set(0, 0x42)
        #expect(port.word(0) == 0x400 && port.word(0x004) == 0x04)
        #expect(port.word(0) == 0x42 && port.word(0x004) == 0)
    }

    @Test func loopback_modemLines_areTheOutputs() {
        enable()
        #expect(port.word(0x018) & 0x107 == 0x007)
        port.set(0x030, 0x381)
        #expect(port.word(0x018) & 0x107 == 0)
        #expect(port.word(0x03C) & 0xF == 0b1110)
        port.set(0x044, 0xF)
        for (control, flag, interrupt) in [(0x800, 0x001, 2), (0x400, 0x002, 8), (0x1000, 0x004, 4), (0x2000, 0x100, 1)] as [(UInt32, UInt32, UInt32)] {
            port.set(0x030, 0x381 | control)
            #expect(port.word(0x018) & 0x107 == flag)
            #expect(port.word(0x03C) & 0xF == interrupt)
            port.set(0x030, 0x381)
            port.set(0x044, 0xF)
        }
    }
}
