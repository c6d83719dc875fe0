/// The sending half.
///
/// A byte goes to the host as it is written, so the transmit FIFO is empty but for the times when the host does not take any. Each byte that leaves it takes it
/// through its trigger level, which is the interrupt (ARM DDI 0183, section 3.4: a transition, not the level itself; none before the first byte).
extension PL011Registers {
    struct Transmitter {
        fileprivate var fifo = ByteRing(capacity: fifoCapacity)
        /// The host takes nothing until `unblockTransmitter`.
        fileprivate var isBlocked = false
    }

    var transmitFlags: UInt32 {
        let count = transmitter.fifo.count
        return (count == 0 ? Flag.transmitEmpty : 0) | (count >= fifoDepth ? Flag.transmitFull : 0)
            | (transmitter.isBlocked ? Flag.busy : 0)
    }

    mutating func writeData(_ byte: UInt8) -> UInt8? {
        if isLoopback {
            loop(UInt16(byte))
            latched |= Interrupt.transmit
            return nil
        }
        guard transmitter.isBlocked else { return byte }
        // What does not fit is lost, as with a real one: FR says so beforehand.
        guard transmitter.fifo.count < fifoDepth, transmitter.fifo.append(byte) else { return nil }
        if transmitter.fifo.count > transmitTrigger { latched &= ~Interrupt.transmit }
        return nil
    }

    // MARK: Host side

    mutating func unblockTransmitter() { transmitter.isBlocked = false }

    /// The next byte for the host, if it takes any; `sent` must follow.
    mutating func nextToSend() -> UInt8? { transmitter.isBlocked ? nil : transmitter.fifo.popFirst() }

    /// A byte has gone to the host, which has room for more or not.
    mutating func sent(hasRoom: Bool) {
        transmitter.isBlocked = !hasRoom
        if transmitter.fifo.count <= transmitTrigger { latched |= Interrupt.transmit }
    }
}
