/// How much a disk may do at most. Names and meaning are those of QEMU's `throttling.*` (its docs/throttle.txt): leaky buckets.
public struct ThrottleLimits: Equatable, Sendable {
    /// One bucket: what was done flows in, and `average` flows out a second. Requests wait while it is fuller than it may be.
    public struct Rate: Equatable, Sendable {
        /// Units (requests or bytes) a second; 0 for no limit.
        public var average: UInt64
        /// Units a second while a burst lasts; 0 when there are no bursts beyond a tenth of a second's worth of `average`.
        public var burst: UInt64
        /// Seconds that a burst lasts at most, at least 1. The bucket holds `burst * burstSeconds`.
        public var burstSeconds: UInt64

        public init(average: UInt64 = 0, burst: UInt64 = 0, burstSeconds: UInt64 = 1) {
            self.average = average
            self.burst = burst
            self.burstSeconds = burstSeconds
        }
    }

    /// A limit for reads and writes together, and one for each.
    public struct Rates: Equatable, Sendable {
        public var total: Rate
        public var read: Rate
        public var write: Rate

        public init(total: Rate = Rate(), read: Rate = Rate(), write: Rate = Rate()) {
            self.total = total
            self.read = read
            self.write = write
        }

        var isUnlimited: Bool { total.average == 0 && read.average == 0 && write.average == 0 }
    }

    public var requests: Rates
    public var bytes: Rates
    /// A request of more bytes than this counts as several; 0: each counts once.
    public var requestSize: UInt64

    public init(requests: Rates = Rates(), bytes: Rates = Rates(), requestSize: UInt64 = 0) {
        self.requests = requests
        self.bytes = bytes
        self.requestSize = requestSize
    }

    public var isUnlimited: Bool { requests.isUnlimited && bytes.isUnlimited }
}

/// A `ThrottleLimits.Rate` at work.
struct LeakyBucket {
    private let average: Double
    private let capacity: Double
    /// The rate of a burst and what may come at once within it; 0 when bursts are not longer than a second.
    private let burst: Double
    private let burstCapacity: Double
    private var level = 0.0
    private var burstLevel = 0.0

    init(_ rate: ThrottleLimits.Rate) {
        average = Double(rate.average)
        burst = rate.burst > 0 && rate.burstSeconds > 1 ? Double(rate.burst) : 0
        capacity = rate.burst > 0 ? Double(rate.burst) * Double(rate.burstSeconds) : average / 10
        burstCapacity = burst / 10
    }

    mutating func leak(_ nanoseconds: UInt64) {
        let seconds = Double(nanoseconds) / 1e9
        level = max(0, level - average * seconds)
        burstLevel = max(0, burstLevel - burst * seconds)
    }

    mutating func add(_ units: Double) {
        guard average > 0 else { return }
        level += units
        if burst > 0 { burstLevel += units }
    }

    /// Nanoseconds until a request may start. One may whatever its size: the next ones wait the longer.
    var wait: UInt64 {
        guard average > 0 else { return 0 }
        let seconds = max((level - capacity) / average, burst > 0 ? (burstLevel - burstCapacity) / burst : 0)
        return seconds > 0 ? UInt64(min(seconds * 1e9, 1e18)) &+ 1 : 0
    }
}
