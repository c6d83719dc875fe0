/// The registers of a PL011 without anything around them (ARM DDI 0183, chapter 3; names from there).
///
/// The line has no speed: a byte is sent as it is written, and a received byte is followed by silence at once. What follows from that for each half is said in
/// `PL011Registers+Receive.swift` and `PL011Registers+Transmit.swift`. Bytes are sent whether or not the port is enabled: Linux's early console writes without
/// enabling it, since firmware would have, and there is none.
struct PL011Registers {
    enum Register {
        /// UARTDR: a byte from the receive FIFO with its errors in bits 8...11; a byte for the transmit FIFO.
        static let data: UInt64 = 0x000
        /// UARTRSR: the errors of the last byte read from DR; UARTECR: any write clears them.
        static let status: UInt64 = 0x004
        /// UARTFR, see `Flag`. Read only.
        static let flags: UInt64 = 0x018
        /// UARTILPR: infrared clock. Kept only.
        static let lowPower: UInt64 = 0x020
        /// UARTIBRD and UARTFBRD: the speed. Kept only.
        static let integerDivisor: UInt64 = 0x024
        static let fractionalDivisor: UInt64 = 0x028
        /// UARTLCR_H, see `LineControl`.
        static let lineControl: UInt64 = 0x02C
        /// UARTCR, see `Control`.
        static let control: UInt64 = 0x030
        /// UARTIFLS: trigger levels, transmitter in bits 0...2, receiver in bits 3...5.
        static let fifoLevels: UInt64 = 0x034
        /// UARTIMSC: which of `Interrupt` may interrupt.
        static let interruptMask: UInt64 = 0x038
        /// UARTRIS, see `Interrupt`. Read only.
        static let rawInterrupt: UInt64 = 0x03C
        /// UARTMIS: the two above, both. Read only.
        static let maskedInterrupt: UInt64 = 0x040
        /// UARTICR: writing 1 clears. Write only.
        static let interruptClear: UInt64 = 0x044
        /// UARTDMACR. There is no DMA: kept only.
        static let dmaControl: UInt64 = 0x048
    }
    enum Flag {
        static let cts: UInt32 = 1 << 0
        static let dsr: UInt32 = 1 << 1
        static let dcd: UInt32 = 1 << 2
        static let busy: UInt32 = 1 << 3
        static let receiveEmpty: UInt32 = 1 << 4
        static let transmitFull: UInt32 = 1 << 5
        static let receiveFull: UInt32 = 1 << 6
        static let transmitEmpty: UInt32 = 1 << 7
        static let ri: UInt32 = 1 << 8
    }
    enum LineControl {
        static let sendBreak: UInt8 = 1 << 0
        static let enableFIFOs: UInt8 = 1 << 4
    }
    enum Control {
        static let enable: UInt16 = 1 << 0
        static let loopback: UInt16 = 1 << 7
        static let enableTransmit: UInt16 = 1 << 8
        static let enableReceive: UInt16 = 1 << 9
        static let dtr: UInt16 = 1 << 10
        static let rts: UInt16 = 1 << 11
        static let out1: UInt16 = 1 << 12
        static let out2: UInt16 = 1 << 13
    }
    enum Interrupt {
        static let ri: UInt16 = 1 << 0
        static let cts: UInt16 = 1 << 1
        static let dcd: UInt16 = 1 << 2
        static let dsr: UInt16 = 1 << 3
        static let receive: UInt16 = 1 << 4
        static let transmit: UInt16 = 1 << 5
        static let receiveTimeout: UInt16 = 1 << 6
        static let framingError: UInt16 = 1 << 7
        static let parityError: UInt16 = 1 << 8
        static let breakError: UInt16 = 1 << 9
        static let overrun: UInt16 = 1 << 10
        static let all: UInt16 = 0x7FF
        /// Either says that there is input.
        static let input = receive | receiveTimeout
    }
    enum DataError {
        static let breakError: UInt16 = 1 << 10
        static let overrun: UInt16 = 1 << 11
    }

    /// Bytes in each FIFO; without FIFOs it is 1.
    static let fifoCapacity = 32

    private var lowPower: UInt8 = 0
    private var integerDivisor: UInt16 = 0
    private var fractionalDivisor: UInt8 = 0
    private var lineControl: UInt8 = 0
    var control: UInt16 = Control.enableTransmit | Control.enableReceive
    private var fifoLevels: UInt8 = 0x12  // half full, both
    var interruptMask: UInt16 = 0
    /// Interrupts that stay until they are cleared or their cause ends; the receive timeout is not among them, see `rawInterrupts`.
    var latched: UInt16 = 0
    private var dmaControl: UInt8 = 0

    var receiver = Receiver()
    var transmitter = Transmitter()

    // MARK: Guest side

    mutating func read(_ register: UInt64) -> UInt32 {
        switch register {
        case Register.data: return readData()
        case Register.status: return UInt32(receiver.status)
        case Register.flags:
            lookForInput()
            defer { lookedForInput() }
            return modemFlags | receiveFlags | transmitFlags
        case Register.lowPower: return UInt32(lowPower)
        case Register.integerDivisor: return UInt32(integerDivisor)
        case Register.fractionalDivisor: return UInt32(fractionalDivisor)
        case Register.lineControl: return UInt32(lineControl)
        case Register.control: return UInt32(control)
        case Register.fifoLevels: return UInt32(fifoLevels)
        case Register.interruptMask: return UInt32(interruptMask)
        case Register.rawInterrupt:
            lookForInput()
            defer { lookedForInput() }
            return UInt32(rawInterrupts)
        case Register.maskedInterrupt:
            lookForInput()
            defer { lookedForInput() }
            return UInt32(maskedInterrupts)
        case Register.dmaControl: return UInt32(dmaControl)
        default: return 0
        }
    }

    /// The byte to send now, if there is one; `sent` must follow.
    mutating func write(_ register: UInt64, _ value: UInt32) -> UInt8? {
        let half = UInt16(truncatingIfNeeded: value)
        let byte = UInt8(truncatingIfNeeded: value)
        switch register {
        case Register.data: return writeData(byte)
        case Register.status: receiver.status = 0
        case Register.lowPower: lowPower = byte
        case Register.integerDivisor: integerDivisor = half
        case Register.fractionalDivisor: fractionalDivisor = byte & 0x3F
        case Register.lineControl: writeLineControl(byte)
        case Register.control: writeControl(half)
        case Register.fifoLevels: fifoLevels = byte & 0x3F
        case Register.interruptMask:
            interruptMask = half & Interrupt.all
            inputIsWanted()
        case Register.interruptClear: clearInterrupts(half)
        case Register.dmaControl: dmaControl = byte & 0x07
        default: break
        }
        return nil
    }

    private mutating func writeLineControl(_ value: UInt8) {
        let changed = lineControl ^ value
        lineControl = value
        if changed & LineControl.enableFIFOs != 0 { fifoModeChanged() }
        if changed & value & LineControl.sendBreak != 0, isLoopback { loop(DataError.breakError) }
    }

    private mutating func writeControl(_ value: UInt16) {
        let before = modemFlags
        control = value & 0xFF87  // bits 3...6 are reserved
        receiver.isControlled = true
        let changed = before ^ modemFlags
        if changed & Flag.ri != 0 { latched |= Interrupt.ri }
        if changed & Flag.cts != 0 { latched |= Interrupt.cts }
        if changed & Flag.dcd != 0 { latched |= Interrupt.dcd }
        if changed & Flag.dsr != 0 { latched |= Interrupt.dsr }
        controlChanged()
    }

    // MARK: Mode

    var isLoopback: Bool { control & Control.loopback != 0 }
    private var hasFIFOs: Bool { lineControl & LineControl.enableFIFOs != 0 }
    var fifoDepth: Int { hasFIFOs ? Self.fifoCapacity : 1 }

    /// So many received bytes are an interrupt.
    var receiveTrigger: Int { hasFIFOs ? Self.level(fifoLevels >> 3 & 7) : 1 }
    /// So few bytes left to send are an interrupt.
    var transmitTrigger: Int { hasFIFOs ? Self.level(fifoLevels & 7) : 0 }

    /// An eighth, a quarter, half, three quarters or seven eighths; the other codes are reserved.
    private static func level(_ code: UInt8) -> Int {
        switch code {
        case 0: fifoCapacity / 8
        case 1: fifoCapacity / 4
        case 3: fifoCapacity * 3 / 4
        case 4: fifoCapacity * 7 / 8
        default: fifoCapacity / 2
        }
    }

    /// In loopback CTS, DSR, DCD and RI show RTS, DTR, Out1 and Out2. Else a peer is there.
    private var modemFlags: UInt32 {
        guard isLoopback else { return Flag.cts | Flag.dsr | Flag.dcd }
        return (control & Control.rts != 0 ? Flag.cts : 0) | (control & Control.dtr != 0 ? Flag.dsr : 0)
            | (control & Control.out1 != 0 ? Flag.dcd : 0) | (control & Control.out2 != 0 ? Flag.ri : 0)
    }

    // MARK: Interrupt

    /// The line is silent as soon as a byte has come, so input in the FIFO is a receive timeout at once. As with a real one, whose time runs again, it cannot be
    /// cleared for good while bytes wait.
    var rawInterrupts: UInt16 { latched | (receivedCount > 0 ? Interrupt.receiveTimeout : 0) }

    var maskedInterrupts: UInt16 { rawInterrupts & interruptMask }
}
