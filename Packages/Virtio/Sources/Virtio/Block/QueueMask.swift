/// Some of a device's queues, by number: 0 to 31.
struct QueueMask {
    private(set) var bits: UInt32 = 0

    static let none = QueueMask()
    var isEmpty: Bool { bits == 0 }

    func contains(_ index: Int) -> Bool { bits & 1 &<< UInt32(truncatingIfNeeded: index) != 0 }
    mutating func insert(_ index: Int) { bits |= 1 &<< UInt32(truncatingIfNeeded: index) }
    mutating func remove(_ index: Int) { bits &= ~(1 &<< UInt32(truncatingIfNeeded: index)) }

    /// The first one from `start` on, around the end.
    func first(from start: Int) -> Int? {
        if bits == 0 { return nil }
        let above = bits & (UInt32.max &<< UInt32(truncatingIfNeeded: start & 31))
        return (above != 0 ? above : bits).trailingZeroBitCount
    }
}
