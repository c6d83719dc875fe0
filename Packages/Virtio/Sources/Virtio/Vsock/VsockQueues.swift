/// Slots of connections that have something for the guest, each at most once, first in, first out: whoever is served goes to the end.
struct VsockTurns {
    private var slots: [UInt16]
    private var isWaiting: [Bool]
    private var first = 0
    private(set) var count = 0

    /// For slots below `capacity`.
    init(capacity: Int) {
        slots = [UInt16](repeating: 0, count: capacity)
        isWaiting = [Bool](repeating: false, count: capacity)
    }

    var isEmpty: Bool { count == 0 }

    mutating func append(_ slot: Int) {
        guard isWaiting.indices.contains(slot), !isWaiting[slot] else { return }
        isWaiting[slot] = true
        slots[(first &+ count) % slots.count] = UInt16(truncatingIfNeeded: slot)
        count &+= 1
    }

    mutating func popFirst() -> Int? {
        guard count > 0 else { return nil }
        let slot = Int(slots[first])
        first = (first &+ 1) % slots.count
        count &-= 1
        isWaiting[slot] = false
        return slot
    }
}

/// Resets for packets that belong to no connection, which wait for the guest's buffers. While there is no room for one more, nothing is taken from the transmit
/// queue (virtio 1.2, section 5.10.6.1): a guest that floods and gives no buffers waits for itself.
struct VsockResets {
    struct Reset: Equatable {
        /// As in the packet that is answered; the guest's own CID is known.
        var cid: UInt64
        var hostPort: UInt32
        var guestPort: UInt32
        var type: UInt16
    }

    static let capacity = 64
    private var resets: [Reset] = []
    private var first = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }
    var hasRoom: Bool { count < Self.capacity }

    mutating func append(_ reset: Reset) {
        guard hasRoom else { return }
        if resets.isEmpty { resets = [Reset](repeating: reset, count: Self.capacity) }
        resets[(first &+ count) % Self.capacity] = reset
        count &+= 1
    }

    mutating func popFirst() -> Reset? {
        guard count > 0 else { return nil }
        let reset = resets[first]
        first = (first &+ 1) % Self.capacity
        count &-= 1
        return reset
    }

    mutating func removeAll() { count = 0 }
}
