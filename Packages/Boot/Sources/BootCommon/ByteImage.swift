/// Reads little-endian fields out of bytes that may be hostile: every read is bounds-checked and answers nil outside.
package struct LittleEndianBytes {
    private let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    package var count: Int { bytes.count }

    package func load<T: FixedWidthInteger & UnsignedInteger>(_: T.Type, at offset: Int) -> T? {
        let size = T.bitWidth / 8
        guard offset >= 0, size <= bytes.count, offset <= bytes.count - size else { return nil }
        var value: T = 0
        for index in stride(from: size - 1, through: 0, by: -1) {
            value = value << 8 | T(truncatingIfNeeded: bytes[offset + index])
        }
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

/// A table under construction. Offsets come from this package's constants, never from a file or a guest. Little is generic, and no loop: for another module
/// the compiler makes no version of its own, and each operation of a protocol is some hundred instructions.
package struct ByteImage {
    package private(set) var bytes: [UInt8]

    package init(count: Int) { bytes = [UInt8](repeating: 0, count: count) }

    package init(reserving count: Int) {
        bytes = []
        bytes.reserveCapacity(count)
    }

    package mutating func store<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
        var rest = UInt64(truncatingIfNeeded: value)
        for index in 0..<T.bitWidth / 8 {
            bytes[offset + index] = UInt8(truncatingIfNeeded: rest)
            rest >>= 8
        }
    }

    package mutating func store(_ source: ArraySlice<UInt8>, at offset: Int) {
        bytes.replaceSubrange(offset..<offset + source.count, with: source)
    }

    package mutating func append<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        var rest = UInt64(truncatingIfNeeded: value)
        for _ in 0..<T.bitWidth / 8 {
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
