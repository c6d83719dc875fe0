/// How much each side of a connection may still send (virtio 1.2, section 5.10.6.3). All counters run freely modulo 2^32, as they do in the packets; those of the
/// guest are whatever it says.
struct VsockCredit {
    /// The guest's buffer, what it has taken out of it, and what was put into it.
    private var guestBuffer: UInt32 = 0
    private var guestForwarded: UInt32 = 0
    private var sent: UInt32 = 0
    /// Bytes that this side keeps for the guest when the host's socket takes none.
    let buffer: UInt32
    private var received: UInt32 = 0
    private(set) var forwarded: UInt32 = 0
    /// What the guest was told of `forwarded`.
    private var announced: UInt32 = 0

    init(buffer: UInt32) { self.buffer = buffer }

    // MARK: To the guest

    /// Every packet of the guest says so.
    mutating func learn(buffer: UInt32, forwarded: UInt32) {
        guestBuffer = buffer
        guestForwarded = forwarded
    }

    /// Bytes that the guest has room for. One that claims what cannot be deceives itself.
    var available: UInt32 {
        let waiting = sent &- guestForwarded
        return waiting < guestBuffer ? guestBuffer &- waiting : 0
    }

    /// `count` is at most `available`.
    mutating func noteSent(_ count: UInt32) { sent &+= count }

    // MARK: From the guest

    /// False, and nothing changes, when the guest sends more than it may.
    mutating func noteReceived(_ count: UInt32) -> Bool {
        guard count <= buffer &- (received &- forwarded) else { return false }
        received &+= count
        return true
    }

    /// The host's socket has taken `count` bytes, or they are not wanted any more.
    mutating func noteForwarded(_ count: UInt32) { forwarded &+= count }

    /// The guest believes that half of the buffer or more is full, and it is not: without a word it would wait for room that is there.
    var owesUpdate: Bool { forwarded &- announced >= max(buffer / 2, 1) }

    /// `forwarded` for a packet on its way to the guest.
    mutating func announce() -> UInt32 {
        announced = forwarded
        return forwarded
    }
}
