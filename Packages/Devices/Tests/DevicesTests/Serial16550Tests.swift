import Synchronization
import Testing

@testable import Devices

private func makePort() -> (Serial16550, FakeLine, FakeBackend) {
    let line = FakeLine()
    let backend = FakeBackend()
    return (Serial16550(line: line, backend: backend), line, backend)
}

extension Serial16550 {
    fileprivate func get(_ offset: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: read(offset: offset, size: 1)) }
    fileprivate func set(_ offset: UInt64, _ value: UInt8) { write(offset: offset, size: 1, value: UInt64(value)) }
    fileprivate func type(_ bytes: [UInt8]) { receive(bytes[...]) }
}

private let rbr: UInt64 = 0, ier: UInt64 = 1, iir: UInt64 = 2, fcr: UInt64 = 2, lcr: UInt64 = 3, mcr: UInt64 = 4
private let lsr: UInt64 = 5, msr: UInt64 = 6, scr: UInt64 = 7

@Suite struct Serial16550Tests {
    @Test func reset_registers_areAsInTheDatasheet() {
        let (port, line, _) = makePort()
        #expect(port.get(ier) == 0)
        #expect(port.get(iir) == 0x01)
        #expect(port.get(lcr) == 0)
        #expect(port.get(lsr) == 0x60)
        #expect(port.get(msr) == 0xB0)
        #expect(line.pulses == 0)
    }

    /// The steps of autoconfig and autoconfig_16550a in Linux's 8250_port.c.
    @Test func linuxAutoconfig_findsA16550AAndNothingElse() {
        let (port, _, backend) = makePort()
        port.set(ier, 0)
        #expect(port.get(ier) & 0x0F == 0)
        port.set(ier, 0x0F)
        #expect(port.get(ier) & 0x0F == 0x0F)
        port.set(ier, 0)
        let saved = port.get(mcr)
        port.set(mcr, 0x1A)
        #expect(port.get(msr) & 0xF0 == 0x90)
        port.set(mcr, saved)
        port.set(lcr, 0xBF)
        port.set(fcr, 0)
        port.set(lcr, 0)
        port.set(fcr, 1)
        #expect(port.get(iir) >> 6 == 3)
        port.set(lcr, 0x80)
        #expect(port.get(iir) != 0, "no EFR: not a 16650")
        port.set(lcr, 0xBF)
        #expect(port.get(iir) != 0, "no EFR: not a 16650V2")
        port.set(lcr, 0)
        port.set(fcr, 0x21)
        #expect(port.get(iir) >> 5 == 6)
        port.set(lcr, 0x80)
        port.set(fcr, 0x21)
        #expect(port.get(iir) >> 5 == 6, "no 64-byte FIFO: not a 16750")
        port.set(lcr, 0)
        port.set(ier, 0x40)
        #expect(port.get(ier) == 0, "no UUE: not an XScale")
        #expect(backend.sent.isEmpty)
    }

    /// serial8250_do_startup: the test for a port that loses the THRE interrupt, and for one that needs TX started by hand.
    @Test func linuxTHRETest_raisesAgainEachTimeTHRIIsEnabled() {
        let (port, line, _) = makePort()
        for _ in 0..<3 {
            port.set(ier, 0x02)
            #expect(line.take() == 1)
            #expect(port.get(lsr) & 0x60 == 0x60)
            #expect(port.get(iir) == 0x02)
            #expect(port.get(iir) == 0x01)
            port.set(ier, 0)
        }
    }

    @Test func scratchAndDivisor_areKept() {
        let (port, _, backend) = makePort()
        port.set(scr, 0xA5)
        #expect(port.get(scr) == 0xA5)
        port.set(lcr, 0x83)
        port.set(0, 0x01)
        port.set(1, 0x02)
        #expect(port.get(0) == 0x01 && port.get(1) == 0x02)
        port.set(lcr, 0x03)
        #expect(port.get(ier) == 0)
        #expect(backend.sent.isEmpty)
    }

    @Test func transmit_eachByte_reachesTheBackendInOrder() {
        let (port, _, backend) = makePort()
        for byte in UInt8.min...UInt8.max { port.set(0, byte) }
        #expect(backend.sent == Array(0...255))
    }

    @Test func transmitInterrupt_aBatch_isOneEdge() {
        let (port, line, _) = makePort()
        port.set(fcr, 1)
        port.set(ier, 2)
        #expect(line.take() == 1)
        #expect(port.get(iir) == 0xC2)
        for byte in UInt8(0)..<16 { port.set(0, byte) }
        #expect(line.take() == 1)
        #expect(port.get(iir) == 0xC2)
        #expect(port.get(iir) == 0xC1)
    }

    @Test func fullBackend_clearsTHREUntilThereIsRoom() {
        let (port, line, backend) = makePort()
        port.set(ier, 2)
        _ = line.take()
        backend.state.withLock { $0.ready = false }
        port.set(0, 0x41)
        #expect(port.get(lsr) & 0x60 == 0)
        #expect(port.get(iir) == 0x01)
        port.set(ier, 0)
        port.set(ier, 2)
        #expect(line.take() == 0, "the transmitter is not empty")
        port.transmitReady()
        #expect(line.take() == 1)
        #expect(port.get(lsr) & 0x60 == 0x60)
        #expect(port.get(iir) == 0x02)
    }

    @Test func receive_withInterrupt_pulsesAndReports() {
        let (port, line, _) = makePort()
        port.set(fcr, 0xC1)  // trigger at 14
        port.set(mcr, 0x0B)
        port.set(ier, 1)
        port.type([1, 2, 3])
        #expect(line.take() == 1)
        #expect(port.get(iir) == 0xCC, "below the trigger: character timeout")
        port.type(Array(4...14))
        #expect(port.get(iir) == 0xC4)
        #expect(line.take() == 0, "the line was high all the time")
        for expected in UInt8(1)...14 {
            #expect(port.get(lsr) & 1 == 1)
            #expect(port.get(rbr) == expected)
        }
        #expect(port.get(lsr) & 1 == 0)
        #expect(port.get(iir) == 0xC1)
        port.type([15])
        #expect(line.take() == 1)
    }

    /// Linux's handler gives up after 512 rounds ("too much work for irq4"): without a later edge the port would be dead. THRE stays pending all the
    /// while, since IIR shows what has a higher priority.
    @Test(arguments: [UInt8(0x01), 0x03]) func receive_aFlood_isAnEdgeEachTimeTheFIFOFillsAgain(enabled: UInt8) {
        let (port, line, _) = makePort()
        port.set(fcr, 0x81)
        port.set(mcr, 0x0B)
        port.set(ier, enabled)
        port.type(Array(0..<64))
        _ = line.take()
        for expected in UInt8(0)..<64 {
            #expect(port.get(lsr) & 1 == 1)
            #expect(port.get(rbr) == expected)
        }
        #expect(line.take() == 3)
    }

    @Test func fifoClear_withInputWaiting_isANewEdge() {
        let (port, line, _) = makePort()
        port.set(fcr, 1)
        port.set(ier, 1)
        port.type(Array(0..<20))
        #expect(line.take() == 1)
        port.set(fcr, 3)
        #expect(line.take() == 1)
        #expect(port.get(rbr) == 16)
    }

    @Test func receive_withoutInterrupt_isPolled() {
        let (port, line, _) = makePort()
        port.type(Array("hello".utf8))
        var text: [UInt8] = []
        while port.get(lsr) & 1 != 0 { text.append(port.get(rbr)) }
        #expect(text == Array("hello".utf8))
        #expect(line.pulses == 0)
        #expect(port.get(rbr) == 0)
    }

    @Test func earlyInput_isNotLostWhenLinuxOpensThePort() {
        let (port, _, _) = makePort()
        port.set(mcr, 0x08)
        port.type(Array("echo hello\n".utf8))
        // Start-up clears the FIFOs and reads every register, before RTS goes up.
        port.set(fcr, 1)
        port.set(fcr, 7)
        port.set(fcr, 0)
        _ = [lsr, rbr, iir, msr].map(port.get)
        port.set(lcr, 3)
        port.set(fcr, 0x81)
        port.set(ier, 0x05)
        port.set(mcr, 0x0B)
        var text: [UInt8] = []
        while port.get(lsr) & 1 != 0 { text.append(port.get(rbr)) }
        #expect(text == Array("echo hello\n".utf8))
    }

    @Test func loopback_returnsWhatIsSentAndOverruns() {
        let (port, line, backend) = makePort()
        port.set(fcr, 1)
        port.set(mcr, 0x10)
        port.set(ier, 0x04)
        for byte in UInt8(0)..<17 { port.set(0, byte) }
        #expect(line.take() == 1)
        #expect(port.get(iir) == 0xC6)
        #expect(port.get(lsr) & 0x03 == 0x03)
        #expect(port.get(lsr) & 0x02 == 0, "reading clears it")
        #expect((0..<17).map { _ in port.get(rbr) } == Array(0..<16) + [0])
        #expect(backend.sent.isEmpty)
    }

    @Test func modemStatus_changesInLoopback_raiseDeltas() {
        let (port, line, _) = makePort()
        port.set(mcr, 0x10)
        _ = port.get(msr)
        port.set(ier, 0x08)
        port.set(mcr, 0x16)  // RTS and OUT1: CTS and RI
        #expect(line.take() == 1)
        #expect(port.get(iir) == 0x00)
        #expect(port.get(msr) == 0x51)
        #expect(port.get(iir) == 0x01)
        port.set(mcr, 0x12)
        #expect(port.get(msr) == 0x14, "trailing edge of RI")
    }

    @Test func withoutFIFOs_oneByteIsVisible() {
        let (port, _, _) = makePort()
        port.set(ier, 1)
        port.type([1, 2])
        #expect(port.get(iir) == 0x04)
        #expect(port.get(rbr) == 1)
        #expect(port.get(rbr) == 2)
        #expect(port.get(iir) == 0x01)
    }

    @Test func fifoClear_dropsWhatTheGuestCouldSee() {
        let (port, _, _) = makePort()
        port.set(fcr, 1)
        port.type(Array(0..<20))
        #expect(port.get(lsr) & 1 == 1)
        port.set(fcr, 3)
        #expect((0..<4).map { _ in port.get(rbr) } == [16, 17, 18, 19])
        #expect(port.get(lsr) & 1 == 0)
    }

    /// CVE-2020-27174: a guest that never reads must not make the monitor grow.
    @Test func inputFlood_unreadByTheGuest_isBounded() {
        let (port, _, backend) = makePort()
        #expect(port.receiveRoom() == 1024)
        for _ in 0..<100 { port.type([UInt8](repeating: 0x55, count: 1024)) }
        #expect(port.receiveRoom() == 0)
        var count = 0
        while port.get(lsr) & 1 != 0 {
            _ = port.get(rbr)
            count += 1
        }
        #expect(count == 1024)
        #expect(backend.resumed == 1, "asked once, when half was read")
    }

    @Test func wideAccesses_areSplitIntoBytes() {
        let (port, _, backend) = makePort()
        port.write(offset: 6, size: 2, value: 0x5A00)
        #expect(port.get(scr) == 0x5A)
        #expect(port.read(offset: 6, size: 2) == 0x5AB0)
        port.write(offset: 0, size: 1, value: 0xFF41)
        #expect(backend.sent == [0x41])
    }
}
