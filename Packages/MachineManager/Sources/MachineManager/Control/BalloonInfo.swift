/// The memory balloon as management clients see it.
public struct BalloonInfo: Equatable, Sendable {
    public var id: String
    /// Bytes of RAM that the guest has outside of the balloon.
    public var actual: UInt64
    public var deflatesOnOOM: Bool
    public var reportsFreePages: Bool
    /// What the guest says of its memory, by tag (virtio 1.2, section 5.5.6.3); nil: it has not said it.
    public var statistics: [UInt64?]
    /// When it said so, in seconds since 1970-01-01 UTC; 0: never.
    public var lastUpdate: UInt64
    /// Seconds between two requests for statistics; 0: nobody asks.
    public var pollingInterval: UInt32

    public init(
        id: String, actual: UInt64, deflatesOnOOM: Bool = false, reportsFreePages: Bool = false, statistics: [UInt64?] = [], lastUpdate: UInt64 = 0,
        pollingInterval: UInt32 = 0
    ) {
        self.id = id
        self.actual = actual
        self.deflatesOnOOM = deflatesOnOOM
        self.reportsFreePages = reportsFreePages
        self.statistics = statistics
        self.lastUpdate = lastUpdate
        self.pollingInterval = pollingInterval
    }
}
