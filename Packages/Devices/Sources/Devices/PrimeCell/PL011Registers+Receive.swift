/// The receiving half.
///
/// Input waits in one queue, the backlog. The receive FIFO is as much of its beginning as the guest can see, and grows when the guest looks or wants to be
/// interrupted, so a guest that does not care yet loses nothing. Linux discards what is in the FIFO when it opens the port (pl011_enable_interrupts): it
/// writes CR, clears the receive interrupts, reads DR until FR says empty, and then enables the interrupts. What was typed or piped early is no noise on a
/// wire, so that one look at FR finds nothing, and then the input is there again.
extension PL011Registers {
    /// Host bytes held for the guest; with these the backend stops reading (CVE-2020-27174 was a queue without such a limit).
    static let backlogCapacity = 1024

    struct Receiver {
        /// RSR's bits.
        var status: UInt8 = 0
        /// The guest has written CR; before, it receives as if it had enabled the port.
        var isControlled = false

        fileprivate var backlog = ByteRing(capacity: backlogCapacity)
        /// How many bytes of the backlog are in the FIFO.
        fileprivate var visible = 0
        /// What came by loopback, each with its errors; in front of `visible`. At most as many as the FIFO holds.
        fileprivate var looped: [UInt16] = []
        fileprivate var isOverrun = false
        /// CR was written: if the receive interrupts are cleared next, the FIFO is about to be discarded.
        fileprivate var mayDiscard = false
        fileprivate var isDiscarding = false
    }

    private static let overrunStatus = UInt8(DataError.overrun >> 8)

    // MARK: Guest side

    /// Bytes in the FIFO.
    var receivedCount: Int { receiver.looped.count + receiver.visible }

    var receiveFlags: UInt32 {
        let count = receivedCount
        return (count == 0 ? Flag.receiveEmpty : 0) | (count >= fifoDepth ? Flag.receiveFull : 0)
    }

    mutating func readData() -> UInt32 {
        receiver.mayDiscard = false
        receiver.isDiscarding = false
        lookForInput()
        var entry: UInt16 = 0
        if !receiver.looped.isEmpty {
            entry = receiver.looped.removeFirst()
        } else if receiver.visible > 0, let byte = receiver.backlog.popFirst() {
            receiver.visible -= 1
            entry = UInt16(byte)
        }
        if receiver.isOverrun { entry |= DataError.overrun }
        receiver.isOverrun = false
        // An overrun stays until ECR is written; the others are those of this byte.
        receiver.status = receiver.status & Self.overrunStatus | UInt8(truncatingIfNeeded: entry >> 8)
        if receivedCount < receiveTrigger { latched &= ~Interrupt.receive }
        if receivedCount == 0 { inputIsWanted() }
        return UInt32(entry)
    }

    /// The guest is about to look whether there is input.
    mutating func lookForInput() {
        if receivedCount == 0 { fill() }
    }

    /// The guest has looked.
    mutating func lookedForInput() {
        if receiver.isDiscarding { inputIsWanted() }
    }

    /// With an interrupt for input on, the guest need not look first.
    mutating func inputIsWanted() {
        receiver.isDiscarding = false
        if interruptMask & Interrupt.input != 0 { fill() }
    }

    mutating func controlChanged() {
        receiver.mayDiscard = true
        if isLoopback { hideInput() }
        inputIsWanted()
    }

    mutating func fifoModeChanged() {
        receiver.looped.removeAll()
        hideInput()
        inputIsWanted()
    }

    mutating func clearInterrupts(_ bits: UInt16) {
        latched &= ~bits
        guard receiver.mayDiscard, bits & Interrupt.input == Interrupt.input else { return }
        receiver.mayDiscard = false
        receiver.isDiscarding = true
        hideInput()
    }

    /// In loopback: what is sent is received.
    mutating func loop(_ entry: UInt16) {
        guard receivedCount < fifoDepth else {
            receiver.isOverrun = true
            receiver.status |= Self.overrunStatus
            latched |= Interrupt.overrun
            return
        }
        receiver.looped.append(entry)
        if entry & DataError.breakError != 0 { latched |= Interrupt.breakError }
        raiseReceive()
    }

    private mutating func hideInput() {
        receiver.visible = 0
        if receivedCount < receiveTrigger { latched &= ~Interrupt.receive }
    }

    private mutating func fill() {
        let enabled = Control.enable | Control.enableReceive
        guard !isLoopback, !receiver.isDiscarding, !receiver.isControlled || control & enabled == enabled else { return }
        let room = fifoDepth - receiver.looped.count
        guard receiver.visible < room, receiver.visible < receiver.backlog.count else { return }
        receiver.visible = min(room, receiver.backlog.count)
        raiseReceive()
    }

    private mutating func raiseReceive() {
        if receivedCount >= receiveTrigger { latched |= Interrupt.receive }
    }

    // MARK: Host side

    /// Bytes that `receive` takes now.
    var receiveRoom: Int { receiver.backlog.room }

    /// Whether the backend may be asked for more: half of the backlog is free.
    var wantsInput: Bool { receiver.backlog.count <= Self.backlogCapacity / 2 }

    mutating func receive(_ bytes: ArraySlice<UInt8>) {
        for byte in bytes { _ = receiver.backlog.append(byte) }
        if interruptMask & Interrupt.input != 0 { fill() }
    }
}
