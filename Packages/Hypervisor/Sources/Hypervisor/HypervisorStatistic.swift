/// One number, or one list of numbers, that a hypervisor keeps about a machine or a vCPU, and what it means.
public struct HypervisorStatistic: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// Only grows.
        case cumulative
        case instant
        /// The largest value there was.
        case peak
        /// How many values fell into each range of `bucketSize`, the last one open.
        case linearHistogram(bucketSize: UInt32)
        /// How many values fell below 1, 2, 4 and so on.
        case logHistogram
    }

    public enum Unit: Equatable, Sendable { case none, bytes, seconds, cycles, boolean }

    /// As the hypervisor spells it.
    public var name: String
    public var kind: Kind
    public var unit: Unit
    /// Values count multiples of `base` to the power of `exponent` units; `base` is 2 or 10.
    public var base: UInt8
    public var exponent: Int16
    /// One value; several of a histogram.
    public var values: [UInt64]

    public init(name: String, kind: Kind, unit: Unit = .none, base: UInt8 = 10, exponent: Int16 = 0, values: [UInt64]) {
        self.name = name
        self.kind = kind
        self.unit = unit
        self.base = base
        self.exponent = exponent
        self.values = values
    }
}
