/// What a guest says of its memory (virtio 1.2, section 5.5.6.3); nothing of it is to be trusted.
public struct BalloonStatistics: Equatable, Sendable {
    /// The kinds, by tag. Those from `hugePageAllocations` on are not in virtio 1.2, but in linux/virtio_balloon.h.
    public enum Kind: UInt16, CaseIterable, Sendable {
        /// Bytes that were swapped in, and out.
        case swapIn
        case swapOut
        /// Page faults with and without I/O.
        case majorFaults
        case minorFaults
        /// Bytes that nothing uses, that the guest has, and that could be had without swapping (MemAvailable).
        case freeMemory
        case totalMemory
        case availableMemory
        /// Bytes of files in memory.
        case diskCaches
        /// Huge pages that were given, and that could not be.
        case hugePageAllocations
        case hugePageFailures
    }

    /// By tag.
    private var values = [UInt64?](repeating: nil, count: Kind.allCases.count)

    public init() {}

    /// Nil when the guest has not said it.
    public internal(set) subscript(kind: Kind) -> UInt64? {
        get { values[Int(kind.rawValue)] }
        set { values[Int(kind.rawValue)] = newValue }
    }

    /// Bytes of an entry: a tag and a value, little endian, without padding.
    static let entrySize = 10
    /// Entries of one buffer that are looked at; Linux sends ten. The length is the guest's (the class of Firecracker PR 5794).
    static let largestCount = 32

    /// Takes over the whole entries of `bytes`; the last of a kind counts, tags that are unknown are left out.
    mutating func take(_ bytes: Span<UInt8>) {
        for entry in 0..<bytes.count / Self.entrySize {
            func integer(_ offset: Int, _ size: Int) -> UInt64 {
                var value: UInt64 = 0
                for byte in 0..<size { value |= UInt64(bytes[entry * Self.entrySize + offset + byte]) << UInt64(8 * byte) }
                return value
            }
            guard let kind = Kind(rawValue: UInt16(truncatingIfNeeded: integer(0, 2))) else { continue }
            self[kind] = integer(2, 8)
        }
    }
}
