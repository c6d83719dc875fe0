/// Guest physical addresses `start ..< end`, in bytes. Never empty the wrong way round and never wrapping.
public struct GuestRange: Equatable, Sendable, CustomStringConvertible {
    public let start: UInt64
    /// The first address behind the range.
    public let end: UInt64

    /// Nil when `start + count` does not fit 64 bits: such a range comes from a hostile header.
    public init?(start: UInt64, count: UInt64) {
        let (end, wraps) = start.addingReportingOverflow(count)
        guard !wraps else { return nil }
        self.start = start
        self.end = end
    }

    /// Nil when `end` lies before `start`.
    public init?(start: UInt64, end: UInt64) {
        guard start <= end else { return nil }
        self.start = start
        self.end = end
    }

    public var count: UInt64 { end &- start }
    public var isEmpty: Bool { start == end }

    public func contains(_ address: UInt64) -> Bool { start <= address && address < end }
    public func contains(_ other: GuestRange) -> Bool { start <= other.start && other.end <= end }
    public func overlaps(_ other: GuestRange) -> Bool {
        !isEmpty && !other.isEmpty && start < other.end && other.start < end
    }

    public var description: String { hex(start) + ".." + hex(end) }
}
