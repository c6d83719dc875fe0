/// A queue of bytes with a fixed capacity. Its memory is taken when the first byte arrives.
public struct ByteRing: Sendable {
    public let capacity: Int
    private var storage: [UInt8] = []
    private var head = 0
    public private(set) var count = 0

    public init(capacity: Int) { self.capacity = max(capacity, 1) }

    public var isEmpty: Bool { count == 0 }
    public var room: Int { capacity - count }

    /// False, and nothing changes, when the ring is full.
    public mutating func append(_ byte: UInt8) -> Bool {
        guard count < capacity else { return false }
        if storage.isEmpty { storage = [UInt8](repeating: 0, count: capacity) }
        storage[(head + count) % capacity] = byte
        count += 1
        return true
    }

    /// Takes the first of `bytes` as far as there is room, and says how many.
    public mutating func append(contentsOf bytes: Span<UInt8>) -> Int {
        let number = min(bytes.count, room)
        guard number > 0 else { return 0 }
        if storage.isEmpty { storage = [UInt8](repeating: 0, count: capacity) }
        let end = capacity
        var place = (head + count) % end
        var target = storage.mutableSpan
        for index in 0..<number {
            target[place] = bytes[index]
            place += 1
            if place == end { place = 0 }
        }
        count += number
        return number
    }

    public mutating func popFirst() -> UInt8? {
        guard count > 0 else { return nil }
        let byte = storage[head]
        removeFirst(1)
        return byte
    }

    /// Puts up to `limit` of the oldest bytes, which stay in the ring, in the place of what `buffer` holds. Nothing is allocated when the buffer
    /// has the capacity.
    public func copyFirst(_ limit: Int, into buffer: inout [UInt8]) {
        buffer.removeAll(keepingCapacity: true)
        let number = min(max(limit, 0), count)
        let first = min(number, capacity - head)
        guard number > 0 else { return }
        buffer.append(contentsOf: storage[head..<head + first])
        if number > first { buffer.append(contentsOf: storage[0..<number - first]) }
    }

    public mutating func removeFirst(_ number: Int) {
        let number = min(max(number, 0), count)
        head = (head + number) % capacity
        count -= number
    }

    public mutating func removeAll() { removeFirst(count) }
}
