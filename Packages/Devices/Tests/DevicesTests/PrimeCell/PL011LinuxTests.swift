import Testing

@testable import Devices

/// What Linux's amba-pl011 does to the registers (drivers/tty/serial/amba-pl011.c), step by step, with the CPU's interrupt input taken from the line.
private final class LinuxDriver {
    private let port: PL011
    private let line: FakeLine
    private var mask: UInt32 = 0
    var received: [UInt8] = []
    var toSend: [UInt8] = []
    var interrupts = 0

    init(_ port: PL011, _ line: FakeLine) { (self.port, self.line) = (port, line) }

    /// Called before each access to a register.
    var beforeAccess: () -> Void = {}

    private func peek(_ offset: UInt64) -> UInt32 {
        beforeAccess()
        return UInt32(truncatingIfNeeded: port.read(offset: offset, size: 2))
    }

    private func poke(_ offset: UInt64, _ value: UInt32) {
        beforeAccess()
        port.write(offset: offset, size: 2, value: UInt64(value))
    }

    private var fifoSize: Int { peek(0xFE8) >> 4 < 3 ? 16 : 32 }

    func setMask(_ value: UInt32) {
        mask = value
        poke(0x038, value)
    }

    /// pl011_probe, then a console's set-up.
    func probe() {
        setMask(0)
        poke(0x044, 0xFFFF)
    }

    /// pl011_hwinit: the mask stays as it was left.
    private func initialize() {
        poke(0x044, 0x7D0)
        mask = peek(0x038)
        poke(0x038, 0x50)
    }

    func setUpConsole() {
        initialize()
        setTermios()
    }

    private func setTermios() {
        let control = peek(0x030)
        poke(0x030, 0)
        poke(0x028, 1)
        poke(0x024, 13)
        poke(0x02C, 0x70)
        poke(0x030, control)
    }

    /// pl011_startup, uart_change_speed and uart_port_dtr_rts.
    func open() {
        initialize()
        poke(0x038, mask)
        poke(0x034, 0x12)
        poke(0x030, peek(0x030) & 0xC00 | 0x301)
        _ = peek(0x018)
        // pl011_enable_interrupts
        poke(0x044, 0x50)
        for _ in 0..<fifoSize * 2 {
            if peek(0x018) & 0x10 != 0 { break }
            _ = peek(0)
        }
        setMask(0x50)
        setTermios()
        poke(0x030, peek(0x030) | 0xC00)
    }

    /// pl011_shutdown.
    func close() {
        setMask(0)
        poke(0x044, 0xFFFF)
        poke(0x030, peek(0x030) & 0xC00 | 0x101)
        poke(0x02C, peek(0x02C) & ~0x11)
    }

    /// pl011_start_tx_pio.
    func startSending() {
        while let byte = toSend.first {
            if peek(0x018) & 0x20 != 0 { break }
            poke(0, UInt32(byte))
            toSend.removeFirst()
        }
        if !toSend.isEmpty { setMask(mask | 0x20) }
    }

    /// pl011_int, as long as the line is high. False: it stayed high for ever.
    func serve() -> Bool {
        var rounds = 0
        while line.level {
            rounds += 1
            interrupts += 1
            if rounds > 10_000 { return false }
            var status = peek(0x03C) & mask
            for _ in 0..<256 where status != 0 {
                poke(0x044, status & ~0x70)
                if status & 0x50 != 0 { receive() }
                if status & 0x20 != 0 { send() }
                status = peek(0x03C) & mask
            }
        }
        return true
    }

    private func receive() {
        for _ in 0..<256 {
            if peek(0x018) & 0x10 != 0 { break }
            received.append(UInt8(truncatingIfNeeded: peek(0)))
        }
    }

    private func send() {
        // Half of the FIFO is free, so it does not look.
        for byte in toSend.prefix(fifoSize / 2) { poke(0, UInt32(byte)) }
        toSend.removeFirst(min(fifoSize / 2, toSend.count))
        if toSend.isEmpty { setMask(mask & ~0x20) }
    }

    /// pl011_console_write. False: the port stayed busy.
    func print(_ text: [UInt8]) -> Bool {
        let control = peek(0x030)
        poke(0x030, control | 0x101)
        for byte in text {
            var rounds = 0
            while peek(0x018) & 0x20 != 0 {
                rounds += 1
                if rounds > 1000 { return false }
            }
            poke(0, UInt32(byte))
        }
        if peek(0x018) & 0x08 != 0 { return false }
        poke(0x030, control)
        return true
    }
}

@Suite struct PL011LinuxTests {
    private let line = FakeLine()
    private let backend = FakeBackend()
    private let port: PL011
    private let linux: LinuxDriver

    init() {
        port = PL011(line: line, backend: backend)
        linux = LinuxDriver(port, line)
        linux.probe()
    }

    @Test func consoleAndTerminal_sendInOrder_andLeaveTheLineLow() {
        linux.setUpConsole()
        #expect(linux.print(Array("Linux version\n".utf8)))
        linux.open()
        #expect(linux.serve())
        linux.toSend = Array(repeating: Array("0123456789".utf8), count: 100).flatMap { $0 }
        linux.startSending()
        #expect(linux.toSend.isEmpty, "the host takes all: no interrupt is needed")
        #expect(linux.serve() && linux.interrupts == 0 && line.levelCalls == 0)
        #expect(linux.print(Array("done".utf8)))
        #expect(backend.sent.count == 14 + 1000 + 4)
    }

    /// The host takes 50 bytes at a time.
    @Test func slowHost_getsEachByteOnceAndInOrder() {
        linux.open()
        let text = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        linux.toSend = text
        backend.open(50)
        linux.startSending()
        for _ in 0..<1000 where backend.sent.count < text.count {
            #expect(linux.serve())
            backend.open(50)
            port.transmitReady()
        }
        #expect(linux.serve() && !line.level)
        #expect(backend.sent == text)
        #expect(linux.interrupts > 50)
    }

    /// Typed or piped before the guest has opened its terminal, before each single access of its driver, with a console on the port and without.
    @Test(arguments: [false, true]) func earlyInput_isNotLostWhenThePortIsOpened(hasConsole: Bool) {
        let text = (0..<900).map { UInt8(truncatingIfNeeded: $0) }
        var moment = 0
        var accesses = 0
        repeat {
            let line = FakeLine()
            let port = PL011(line: line, backend: FakeBackend())
            let linux = LinuxDriver(port, line)
            accesses = 0
            linux.beforeAccess = {
                if accesses == moment { port.receive(text[...]) }
                accesses += 1
            }
            linux.probe()
            if hasConsole {
                linux.setUpConsole()
                #expect(linux.print(Array("Linux\n".utf8)))
            }
            linux.open()
            linux.beforeAccess = {}
            if accesses <= moment { port.receive(text[...]) }
            #expect(linux.serve())
            #expect(linux.received == text, "before access \(moment)")
            moment += 1
        } while moment <= accesses
        #expect(moment > (hasConsole ? 40 : 20))
    }

    @Test func inputBetweenTwoOpens_waitsForTheSecond() {
        linux.open()
        port.receive([1, 2, 3])
        #expect(linux.serve() && linux.received == [1, 2, 3])
        linux.close()
        #expect(!line.level)
        port.receive([4, 5, 6])
        #expect(!line.level)
        linux.open()
        #expect(linux.serve() && linux.received == [1, 2, 3, 4, 5, 6])
    }

    /// One keystroke is one interrupt, at once: the timeout has passed.
    @Test func keystroke_isOneInterrupt() {
        linux.open()
        for byte in UInt8(0)..<100 {
            port.receive([byte])
            #expect(line.level)
            #expect(linux.serve())
        }
        #expect(linux.received == Array(0..<100) && linux.interrupts == 100)
    }

    @Test func flood_arrivesWhole_whileTheGuestAlsoSends() {
        linux.open()
        let text = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        linux.toSend = text
        var rest = text[...]
        backend.open(30)
        linux.startSending()
        for _ in 0..<10_000 where !rest.isEmpty || !linux.toSend.isEmpty || backend.sent.count < text.count {
            port.receive(rest.prefix(port.receiveRoom()))
            rest = rest.dropFirst(min(rest.count, 1024))
            #expect(linux.serve())
            backend.open(30)
            port.transmitReady()
        }
        #expect(linux.received == text)
        #expect(backend.sent == text)
    }
}
