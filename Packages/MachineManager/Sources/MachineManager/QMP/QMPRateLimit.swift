/// A leaky bucket of commands: `perSecond` may come at once, and as many each second on the average.
struct QMPRateLimit: Sendable {
    /// As in StratoVirt.
    static let standard: UInt64 = 100

    private let perSecond: UInt64
    /// Nanoseconds of flow that the bucket holds; a second is full.
    private var level: UInt64 = 0
    private var last: UInt64 = 0
    private static let full: UInt64 = 1_000_000_000

    /// `perSecond` of 0: no limit.
    init(perSecond: UInt64) { self.perSecond = perSecond }

    /// Whether one more command is let through at `now`, nanoseconds of a clock that does not go back.
    mutating func take(at now: UInt64) -> Bool {
        guard perSecond > 0 else { return true }
        let passed = now > last ? now - last : 0
        last = max(last, now)
        level = level > passed ? level - passed : 0
        let (sum, overflow) = level.addingReportingOverflow(Self.full / perSecond)
        guard !overflow, sum <= Self.full else { return false }
        level = sum
        return true
    }
}
