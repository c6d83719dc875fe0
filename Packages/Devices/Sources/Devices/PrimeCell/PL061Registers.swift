/// The registers of the PL061, eight GPIO pins (ARM DDI 0190, chapter 3).
struct PL061Registers {
    enum Register {
        /// GPIODATA, 0x000...0x3FC: address bits 9...2 say which pins an access is about.
        static let lastData: UInt64 = 0x3FC
        /// GPIODIR: 1, the pin is an output.
        static let direction: UInt64 = 0x400
        /// GPIOIS: 1, a level interrupts; 0, an edge.
        static let sense: UInt64 = 0x404
        /// GPIOIBE: both edges interrupt.
        static let bothEdges: UInt64 = 0x408
        /// GPIOIEV: 1, rising edge or high level; 0, falling edge or low level.
        static let event: UInt64 = 0x40C
        /// GPIOIE: the pin may interrupt.
        static let interruptMask: UInt64 = 0x410
        /// GPIORIS. Read only.
        static let rawInterrupt: UInt64 = 0x414
        /// GPIOMIS: the two above, both. Read only.
        static let maskedInterrupt: UInt64 = 0x418
        /// GPIOIC: writing 1 forgets an edge.
        static let interruptClear: UInt64 = 0x41C
        /// GPIOAFSEL: the pin belongs to another device. None is there, so the bits are only kept.
        static let alternateFunction: UInt64 = 0x420
    }

    private var data: UInt8 = 0
    private(set) var direction: UInt8 = 0
    private(set) var sense: UInt8 = 0
    private var bothEdges: UInt8 = 0
    private var event: UInt8 = 0
    private var mask: UInt8 = 0
    private var alternateFunction: UInt8 = 0
    /// Edges that have come and not been cleared.
    private var edges: UInt8 = 0
    /// What the board drives.
    private var inputs: UInt8 = 0
    private var pins: UInt8 = 0

    var rawInterrupts: UInt8 { edges & ~sense | ~(pins ^ event) & sense }
    var maskedInterrupts: UInt8 { rawInterrupts & mask }
    /// Edges that the guest wants to know of and has not acknowledged.
    var unacknowledgedEdges: UInt8 { edges & ~sense & mask }

    func read(_ register: UInt64) -> UInt32 {
        switch register {
        case 0...Register.lastData: UInt32(pins & UInt8(truncatingIfNeeded: register >> 2))
        case Register.direction: UInt32(direction)
        case Register.sense: UInt32(sense)
        case Register.bothEdges: UInt32(bothEdges)
        case Register.event: UInt32(event)
        case Register.interruptMask: UInt32(mask)
        case Register.rawInterrupt: UInt32(rawInterrupts)
        case Register.maskedInterrupt: UInt32(maskedInterrupts)
        case Register.alternateFunction: UInt32(alternateFunction)
        default: 0
        }
    }

    mutating func write(_ register: UInt64, _ value: UInt32) {
        let value = UInt8(truncatingIfNeeded: value)
        switch register {
        case 0...Register.lastData:
            let selected = UInt8(truncatingIfNeeded: register >> 2)
            data = data & ~selected | value & selected & direction
            settle()
        case Register.direction:
            direction = value
            settle()
        case Register.sense: sense = value
        case Register.bothEdges: bothEdges = value
        case Register.event: event = value
        case Register.interruptMask: mask = value
        case Register.interruptClear: edges &= ~value
        case Register.alternateFunction: alternateFunction = value
        default: break
        }
    }

    /// The board drives `pin` (0...7) high or low.
    mutating func drive(_ pin: UInt8, high: Bool) {
        let bit: UInt8 = 1 << (pin & 7)
        inputs = high ? inputs | bit : inputs & ~bit
        settle()
    }

    private mutating func settle() {
        let new = data & direction | inputs & ~direction
        edges |= (new ^ pins) & ~sense & (bothEdges | ~(new ^ event))
        pins = new
    }
}
