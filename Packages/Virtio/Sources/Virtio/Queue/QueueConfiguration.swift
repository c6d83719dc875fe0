/// A queue as the driver describes it through the transport's registers. Nothing in it has been checked.
public struct QueueConfiguration: Equatable, Sendable {
    public var size: UInt32 = 0
    /// Guest physical addresses.
    public var descriptorTable: UInt64 = 0
    public var availableRing: UInt64 = 0
    public var usedRing: UInt64 = 0

    public init(size: UInt32 = 0, descriptorTable: UInt64 = 0, availableRing: UInt64 = 0, usedRing: UInt64 = 0) {
        self.size = size
        self.descriptorTable = descriptorTable
        self.availableRing = availableRing
        self.usedRing = usedRing
    }
}
