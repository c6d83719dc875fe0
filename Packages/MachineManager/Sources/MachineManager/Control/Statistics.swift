/// What statistics are about, as QEMU's `StatsTarget`; it has no `device`.
public enum StatisticsTarget: String, CaseIterable, Sendable { case vm, vcpu, device }

/// Who counts: the host's kernel, or this program.
public enum StatisticsProvider: String, CaseIterable, Sendable { case kvm, stratovirt }

/// An object of which a provider has statistics.
public struct StatisticsSource: Equatable, Sendable {
    public var provider: StatisticsProvider
    public var target: StatisticsTarget
    /// Its place in QEMU's object tree; nil for the machine as a whole.
    public var path: String?

    public init(_ provider: StatisticsProvider, _ target: StatisticsTarget, path: String? = nil) {
        self.provider = provider
        self.target = target
        self.path = path
    }
}

/// A number with its meaning, or several of them.
public struct Statistic: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// Only grows, until it wraps.
        case cumulative
        case instant, peak
        case linearHistogram(bucketSize: UInt32)
        case logHistogram
    }

    public enum Unit: String, Sendable { case bytes, seconds, cycles, boolean }

    public enum Value: Equatable, Sendable {
        case scalar(UInt64)
        case boolean(Bool)
        case list([UInt64])
    }

    public var name: String
    public var kind: Kind
    /// Nil: plain events or things.
    public var unit: Unit?
    /// The value counts multiples of `base` to the power of `exponent` units; 2 or 10.
    public var base: UInt8
    public var exponent: Int16
    public var value: Value

    public init(_ name: String, _ value: Value, kind: Kind = .cumulative, unit: Unit? = nil, base: UInt8 = 10, exponent: Int16 = 0) {
        self.name = name
        self.kind = kind
        self.unit = unit
        self.base = base
        self.exponent = exponent
        self.value = value
    }

    /// Events.
    public static func count(_ name: String, _ value: UInt64) -> Statistic { Statistic(name, .scalar(value)) }
    public static func bytes(_ name: String, _ value: UInt64) -> Statistic { Statistic(name, .scalar(value), unit: .bytes) }
    /// A moment or a length of time.
    public static func nanoseconds(_ name: String, _ value: UInt64) -> Statistic {
        Statistic(name, .scalar(value), kind: .instant, unit: .seconds, exponent: -9)
    }
}

/// What a disk has done for its guest since it came into its slot; all numbers wrap.
public struct BlockNodeStatistics: Equatable, Sendable {
    public struct Operations: Equatable, Sendable {
        public var count: UInt64 = 0
        public var bytes: UInt64 = 0
        /// Nanoseconds, added up.
        public var time: UInt64 = 0
        public var merged: UInt64 = 0
        public var failed: UInt64 = 0
        public var invalid: UInt64 = 0

        public init() {}
    }

    public var reads = Operations()
    public var writes = Operations()
    public var flushes = Operations()
    public var discards = Operations()
    /// The end of the write that reached farthest, in bytes.
    public var highestWrite: UInt64 = 0
    /// Nanoseconds since the last access; nil before the first.
    public var idle: UInt64?

    public init() {}
}
