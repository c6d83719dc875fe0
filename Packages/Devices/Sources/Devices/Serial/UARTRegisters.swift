/// The registers of a 16550A without anything around them (National Semiconductor PC16550D datasheet; names from there).
///
/// Input waits in two queues. `fifo` is what the guest can see: 16 bytes, or 1 with FIFOs off. `backlog` holds what came from
/// the host before there was room. Bytes move up only when the guest looks and only while RTS is asserted, as with a peer that
/// honours hardware flow control: what was typed or piped early is not lost when Linux clears the FIFO as it opens the port.
/// A guest that has never written MCR (a small payload) receives without RTS.
struct UARTRegisters {
    /// Host bytes held for the guest; with these and the FIFO full the backend stops reading (CVE-2020-27174 was a queue
    /// without such a limit).
    static let backlogCapacity = 1024

    enum IER {
        static let receivedData: UInt8 = 0x01
        static let transmitterEmpty: UInt8 = 0x02
        static let lineStatus: UInt8 = 0x04
        static let modemStatus: UInt8 = 0x08
    }
    enum IIR {
        static let none: UInt8 = 0x01
        static let modemStatus: UInt8 = 0x00
        static let transmitterEmpty: UInt8 = 0x02
        static let receivedData: UInt8 = 0x04
        static let lineStatus: UInt8 = 0x06
        static let characterTimeout: UInt8 = 0x0C
        static let fifosEnabled: UInt8 = 0xC0
    }
    enum MCR {
        static let rts: UInt8 = 0x02
        static let out2: UInt8 = 0x08
        static let loop: UInt8 = 0x10
    }
    enum LSR {
        static let dataReady: UInt8 = 0x01
        static let overrun: UInt8 = 0x02
        static let transmitterEmpty: UInt8 = 0x60
    }

    private(set) var ier: UInt8 = 0
    private(set) var lcr: UInt8 = 0
    private(set) var mcr: UInt8 = MCR.out2
    private var scratch: UInt8 = 0
    private var divisor: UInt16 = 12  // 9600 baud, as firmware leaves it
    private var fifosEnabled = false
    private var trigger = 1
    private var fifo = ByteRing(capacity: 16)
    private var backlog = ByteRing(capacity: backlogCapacity)
    private var overrun = false
    private var modemDelta: UInt8 = 0
    private var mcrWritten = false
    private var transmitterEmptyPending = false
    private var transmitterReady = true

    private var isDLAB: Bool { lcr & 0x80 != 0 }
    private var isLoopback: Bool { mcr & MCR.loop != 0 }

    // MARK: Guest side

    mutating func read(_ offset: Int) -> UInt8 {
        switch offset {
        case 0: return isDLAB ? UInt8(truncatingIfNeeded: divisor) : readData()
        case 1: return isDLAB ? UInt8(truncatingIfNeeded: divisor >> 8) : ier
        case 2:
            refillIfEmpty()
            let cause = interruptCause
            if cause == IIR.transmitterEmpty { transmitterEmptyPending = false }
            return cause | (fifosEnabled ? IIR.fifosEnabled : 0)
        case 3: return lcr
        case 4: return mcr
        case 5: return readLineStatus()
        case 6:
            defer { modemDelta = 0 }
            return modemLines | modemDelta
        case 7: return scratch
        default: return 0xFF
        }
    }

    /// The byte to send, if the write was one.
    mutating func write(_ offset: Int, _ value: UInt8) -> UInt8? {
        switch offset {
        case 0 where isDLAB: divisor = divisor & 0xFF00 | UInt16(value)
        case 0: return writeData(value)
        case 1 where isDLAB: divisor = divisor & 0x00FF | UInt16(value) << 8
        case 1:
            let enabled = value & ~ier
            ier = value & 0x0F
            // Enabling the interrupt while the transmitter is empty raises it; Linux tests for that at start-up.
            if enabled & IER.transmitterEmpty != 0, transmitterReady { transmitterEmptyPending = true }
        case 2: writeFIFOControl(value)
        case 3: lcr = value
        case 4: writeModemControl(value)
        case 7: scratch = value
        default: break  // LSR and MSR are read-only (factory tests apart)
        }
        return nil
    }

    private mutating func readData() -> UInt8 {
        refillIfEmpty()
        return fifo.popFirst() ?? 0
    }

    private mutating func writeData(_ value: UInt8) -> UInt8? {
        transmitterEmptyPending = transmitterReady
        guard isLoopback else { return value }
        if fifo.count < fifoDepth { _ = fifo.append(value) } else { overrun = true }
        return nil
    }

    private mutating func readLineStatus() -> UInt8 {
        refillIfEmpty()
        defer { overrun = false }
        return (fifo.isEmpty ? 0 : LSR.dataReady) | (overrun ? LSR.overrun : 0)
            | (transmitterReady ? LSR.transmitterEmpty : 0)
    }

    private mutating func writeFIFOControl(_ value: UInt8) {
        let enable = value & 0x01 != 0
        // Bit 1 clears the receiver; so does a change of bit 0. Bytes already sent to the host are on the wire.
        if enable != fifosEnabled || value & 0x02 != 0 { fifo.removeAll() }
        fifosEnabled = enable
        switch value >> 6 {
        case _ where !enable: trigger = 1
        case 0: trigger = 1
        case 1: trigger = 4
        case 2: trigger = 8
        default: trigger = 14
        }
    }

    private mutating func writeModemControl(_ value: UInt8) {
        let before = modemLines
        mcr = value & 0x1F
        mcrWritten = true
        let changed = before ^ modemLines
        modemDelta |= changed >> 4 & 0x0B  // CTS, DSR, DCD
        if before & 0x40 != 0, modemLines & 0x40 == 0 { modemDelta |= 0x04 }  // trailing edge of RI
    }

    /// In loopback CTS, DSR, RI and DCD show RTS, DTR, OUT1 and OUT2; Linux recognises the port by it. Else a peer is there.
    private var modemLines: UInt8 {
        guard isLoopback else { return 0xB0 }
        return (mcr & 0x02) << 3 | (mcr & 0x01) << 5 | (mcr & 0x0C) << 4
    }

    // MARK: Interrupt

    /// What asks for an interrupt and may: bits as in IER.
    var pendingCauses: UInt8 {
        var causes: UInt8 = 0
        if !fifo.isEmpty { causes |= IER.receivedData }
        if transmitterEmptyPending { causes |= IER.transmitterEmpty }
        if overrun { causes |= IER.lineStatus }
        if modemDelta != 0 { causes |= IER.modemStatus }
        return causes & ier
    }

    /// By priority (datasheet, table IV). Data below the trigger level is reported as a character timeout at once: the guest
    /// need not wait four character times for a keystroke.
    private var interruptCause: UInt8 {
        let causes = pendingCauses
        if causes & IER.lineStatus != 0 { return IIR.lineStatus }
        if causes & IER.receivedData != 0 {
            return fifo.count >= trigger || !fifosEnabled ? IIR.receivedData : IIR.characterTimeout
        }
        if causes & IER.transmitterEmpty != 0 { return IIR.transmitterEmpty }
        return causes != 0 ? IIR.modemStatus : IIR.none
    }

    // MARK: Host side

    private var fifoDepth: Int { fifosEnabled ? fifo.capacity : 1 }

    /// Bytes that `receive` takes now.
    var receiveRoom: Int { backlog.room }

    /// Whether the backend may be asked for more: half of the backlog is free.
    var wantsInput: Bool { backlog.count <= Self.backlogCapacity / 2 }

    mutating func receive(_ bytes: ArraySlice<UInt8>) {
        for byte in bytes { _ = backlog.append(byte) }
        if ier & IER.receivedData != 0 { refill() }
    }

    /// With the receive interrupt on, the guest need not look first.
    mutating func refillIfInterrupting() {
        if ier & IER.receivedData != 0 { refillIfEmpty() }
    }

    /// The guest empties the FIFO before it sees more: so that "data received" ends now and then, and begins again with an edge.
    private mutating func refillIfEmpty() {
        if fifo.isEmpty { refill() }
    }

    private mutating func refill() {
        guard !isLoopback, !mcrWritten || mcr & MCR.rts != 0 else { return }
        while fifo.count < fifoDepth, let byte = backlog.popFirst() { _ = fifo.append(byte) }
    }

    /// Whether the transmitter can take 16 bytes: what THRE promises a driver with FIFOs.
    mutating func setTransmitter(ready: Bool) {
        transmitterReady = ready
        transmitterEmptyPending = ready
    }
}
