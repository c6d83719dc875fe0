/// Reads little-endian fields out of bytes that may be hostile: every read is bounds-checked and answers nil outside.
///
/// Here and in `ByteImage` nothing is generic: of a generic function the compiler makes no version for another module. Then each operation of a protocol is
/// some hundred instructions, and the first one of each type makes a table of all that the type can do.
package struct LittleEndianBytes {
    private let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    package var count: Int { bytes.count }

    package func load(_: UInt8.Type, at offset: Int) -> UInt8? { load(bytes: 1, at: offset).map { UInt8(truncatingIfNeeded: $0) } }
    package func load(_: UInt16.Type, at offset: Int) -> UInt16? { load(bytes: 2, at: offset).map { UInt16(truncatingIfNeeded: $0) } }
    package func load(_: UInt32.Type, at offset: Int) -> UInt32? { load(bytes: 4, at: offset).map { UInt32(truncatingIfNeeded: $0) } }
    package func load(_: UInt64.Type, at offset: Int) -> UInt64? { load(bytes: 8, at: offset) }

    /// An integer of `size` bytes, at most 8.
    package func load(bytes size: Int, at offset: Int) -> UInt64? {
        guard offset >= 0, size <= bytes.count, offset <= bytes.count - size else { return nil }
        var value: UInt64 = 0
        for index in stride(from: size - 1, through: 0, by: -1) { value = value << 8 | UInt64(bytes[offset + index]) }
        return value
    }

    /// `count` bytes at `offset`, or nil when they are not all there.
    package func slice(at offset: Int, count: Int) -> ArraySlice<UInt8>? {
        guard offset >= 0, count >= 0, count <= bytes.count, offset <= bytes.count - count else { return nil }
        return bytes[offset..<offset + count]
    }

    /// Whether the bytes at `offset` are `expected`; false when some of them are missing.
    package func matches(_ expected: [UInt8], at offset: Int = 0) -> Bool {
        slice(at: offset, count: expected.count)?.elementsEqual(expected) ?? false
    }
}

/// A table under construction. Offsets come from this package's constants, never from a file or a guest.
package struct ByteImage {
    package private(set) var bytes: [UInt8]

    package init(count: Int) { bytes = [UInt8](repeating: 0, count: count) }

    package init(reserving count: Int) {
        bytes = []
        bytes.reserveCapacity(count)
    }

    package mutating func store(_ value: UInt8, at offset: Int) { store(UInt64(value), bytes: 1, at: offset) }
    package mutating func store(_ value: UInt16, at offset: Int) { store(UInt64(value), bytes: 2, at: offset) }
    package mutating func store(_ value: UInt32, at offset: Int) { store(UInt64(value), bytes: 4, at: offset) }
    package mutating func store(_ value: UInt64, at offset: Int) { store(value, bytes: 8, at: offset) }

    private mutating func store(_ value: UInt64, bytes size: Int, at offset: Int) {
        var rest = value
        for index in 0..<size {
            bytes[offset + index] = UInt8(truncatingIfNeeded: rest)
            rest >>= 8
        }
    }

    package mutating func store(_ source: ArraySlice<UInt8>, at offset: Int) {
        bytes.replaceSubrange(offset..<offset + source.count, with: source)
    }

    package mutating func append(_ value: UInt8) { append(UInt64(value), bytes: 1) }
    package mutating func append(_ value: UInt16) { append(UInt64(value), bytes: 2) }
    package mutating func append(_ value: UInt32) { append(UInt64(value), bytes: 4) }
    package mutating func append(_ value: UInt64) { append(value, bytes: 8) }

    private mutating func append(_ value: UInt64, bytes size: Int) {
        var rest = value
        for _ in 0..<size {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }

    package mutating func append(_ source: [UInt8]) { bytes += source }

    package mutating func append(_ text: String) { bytes += text.utf8 }

    /// Stores at `offset` the byte that makes `range` sum to zero modulo 256.
    package mutating func storeChecksum(at offset: Int, over range: Range<Int>) {
        bytes[offset] = 0
        bytes[offset] = 0 &- bytes[range].reduce(0, &+)
    }
}

package func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
