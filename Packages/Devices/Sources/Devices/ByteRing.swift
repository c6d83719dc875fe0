/// A queue of bytes with a fixed capacity. Its memory is taken when the first byte arrives.
struct ByteRing {
    let capacity: Int
    private var storage: [UInt8] = []
    private var head = 0
    private(set) var count = 0

    init(capacity: Int) { self.capacity = max(capacity, 1) }

    var isEmpty: Bool { count == 0 }
    var room: Int { capacity - count }

    /// False, and nothing changes, when the ring is full.
    mutating func append(_ byte: UInt8) -> Bool {
        guard count < capacity else { return false }
        if storage.isEmpty { storage = [UInt8](repeating: 0, count: capacity) }
        storage[(head + count) % capacity] = byte
        count += 1
        return true
    }

    mutating func popFirst() -> UInt8? {
        guard count > 0 else { return nil }
        let byte = storage[head]
        removeFirst(1)
        return byte
    }

    /// Up to `limit` of the oldest bytes, which stay in the ring.
    func prefix(_ limit: Int) -> [UInt8] {
        (0..<min(max(limit, 0), count)).map { storage[(head + $0) % capacity] }
    }

    mutating func removeFirst(_ number: Int) {
        let number = min(max(number, 0), count)
        head = (head + number) % capacity
        count -= number
    }

    mutating func removeAll() { removeFirst(count) }
}
