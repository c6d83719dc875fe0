/// A queue of bytes with a fixed capacity. Its memory grows with what it has had to hold at once, and stays.
public struct ByteRing: Sendable {
    private static let leastSize = 64
    public let capacity: Int
    private var storage: [UInt8] = []
    private var head = 0
    public private(set) var count = 0

    public init(capacity: Int) { self.capacity = max(capacity, 1) }

    public var isEmpty: Bool { count == 0 }
    public var room: Int { capacity - count }
    /// Bytes of memory that have been taken so far.
    var footprint: Int { storage.count }

    /// False, and nothing changes, when the ring is full.
    public mutating func append(_ byte: UInt8) -> Bool {
        guard count < capacity else { return false }
        if count == storage.count { grow(to: count + 1) }
        storage[(head + count) % storage.count] = byte
        count += 1
        return true
    }

    /// Takes the first of `bytes` as far as there is room, and says how many.
    public mutating func append(contentsOf bytes: Span<UInt8>) -> Int {
        let number = min(bytes.count, room)
        guard number > 0 else { return 0 }
        if count + number > storage.count { grow(to: count + number) }
        let end = storage.count
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
        guard number > 0 else { return }
        let first = min(number, storage.count - head)
        buffer.append(contentsOf: storage[head..<head + first])
        if number > first { buffer.append(contentsOf: storage[0..<number - first]) }
    }

    public mutating func removeFirst(_ number: Int) {
        let number = min(max(number, 0), count)
        guard number > 0 else { return }
        head = (head + number) % storage.count
        count -= number
    }

    public mutating func removeAll() { removeFirst(count) }

    /// `needed` is at most the capacity.
    private mutating func grow(to needed: Int) {
        var bytes: [UInt8] = []
        copyFirst(count, into: &bytes)
        let size = min(capacity, max(needed, 2 * storage.count, Self.leastSize))
        storage = bytes + [UInt8](repeating: 0, count: size - bytes.count)
        head = 0
    }
}
