/// So many bytes in each period, counted from the first byte of it; what is not used is lost. Times in nanoseconds.
struct EntropyQuota {
    private let maximum: UInt64
    private let period: UInt64
    private var start: UInt64 = 0
    private var spent: UInt64 = 0
    private var hasStarted = false

    static let slowest: UInt64 = 64
    static let fastest: UInt64 = 1_000_000_000

    init(_ rate: VirtioRng.Rate) throws(EntropyError) {
        let (perSecond, overflow) = rate.maximumBytes.multipliedReportingOverflow(by: 1000)
        let (period, periodOverflow) = rate.periodMilliseconds.multipliedReportingOverflow(by: 1_000_000)
        guard !overflow, !periodOverflow, period > 0, (Self.slowest...Self.fastest).contains(perSecond / rate.periodMilliseconds) else {
            throw .badRate(maximumBytes: rate.maximumBytes, periodMilliseconds: rate.periodMilliseconds)
        }
        maximum = rate.maximumBytes
        self.period = period
    }

    /// Bytes that may be given now.
    mutating func allowance(at now: UInt64) -> UInt64 {
        if !hasStarted || now &- start >= period {
            hasStarted = true
            start = now
            spent = 0
        }
        return maximum &- spent
    }

    /// At most what `allowance` said.
    mutating func spend(_ bytes: UInt64) { spent = min(maximum, spent &+ bytes) }

    /// How long until the next period.
    func wait(at now: UInt64) -> UInt64 {
        let elapsed = now &- start
        return elapsed < period ? period &- elapsed : 0
    }
}
