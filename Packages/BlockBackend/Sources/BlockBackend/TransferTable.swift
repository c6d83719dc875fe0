/// The transfers in flight, by index; allocated once. An element belongs to one thread at a time: the owner's, or from `WorkerPool.enqueue` until
/// `WorkerPool.next` a worker's. The pool's lock orders the hand-over.
@safe final class TransferTable: @unchecked Sendable {
    let capacity: Int
    // SAFETY: `capacity` elements, initialized for the object's life; one thread at a time uses an element (above).
    private let base: UnsafeMutablePointer<Transfer>

    init(capacity: Int) {
        self.capacity = capacity
        unsafe base = .allocate(capacity: capacity)
        unsafe base.initialize(repeating: Transfer(BlockOperation(.flush, token: 0)), count: capacity)
    }

    deinit { unsafe base.deallocate() }

    /// `index` comes from this package's own free list, or is below `capacity` by a check (kernel completions).
    subscript(index: Int) -> Transfer {
        @inline(__always) _read { yield unsafe base[index] }
        @inline(__always) _modify { yield unsafe &base[index] }
    }
}

/// A first-in first-out queue of at most `capacity` small numbers that never allocates after its creation.
struct IndexQueue {
    private var items: [UInt16]
    private var head = 0
    private(set) var count = 0

    /// `capacity` is at most 1024 (`RawImageOptions.inFlightLimit`) and some groups.
    init(capacity: Int) { items = Array(repeating: 0, count: capacity) }

    /// Each index is in at most one queue and there are `capacity` indices, so there is always room.
    mutating func push(_ index: Int) {
        guard count < items.count else { return }
        let tail = head &+ count
        items[tail < items.count ? tail : tail &- items.count] = UInt16(truncatingIfNeeded: index)
        count &+= 1
    }

    mutating func pop() -> Int? {
        guard count > 0 else { return nil }
        let index = Int(items[head])
        head = head &+ 1 < items.count ? head &+ 1 : 0
        count &-= 1
        return index
    }
}
