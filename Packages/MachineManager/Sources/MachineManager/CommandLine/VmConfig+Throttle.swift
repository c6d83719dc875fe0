extension VmConfig {
    /// What a drive may do at most (`throttling.*` of `-drive` and blockdev-add, QMP block_set_io_throttle). Names and rules are QEMU's.
    public struct Throttle: Equatable, Sendable {
        public enum Limit: Int, CaseIterable, Sendable {
            case bytesTotal, bytesRead, bytesWrite, requestsTotal, requestsRead, requestsWrite
        }

        public struct Rate: Equatable, Sendable {
            /// Bytes or requests a second; 0 for no limit.
            public var average: UInt64 = 0
            /// The same while a burst lasts, not below `average`; 0 for none.
            public var burst: UInt64 = 0
            /// Seconds that a burst lasts, at least 1.
            public var burstSeconds: UInt64 = 1
        }

        private var rates = [Rate](repeating: Rate(), count: Limit.allCases.count)
        /// Bytes from which on a request counts as several; 0: each is one.
        public var requestSize: UInt64 = 0

        public init() {}

        public subscript(limit: Limit) -> Rate {
            get { rates[limit.rawValue] }
            set { rates[limit.rawValue] = newValue }
        }

        public var isUnlimited: Bool { rates.allSatisfy { $0.average == 0 } }

        /// The most bytes a second, and the most that a burst may move (QEMU's THROTTLE_VALUE_MAX).
        static let maximumRate: UInt64 = 1_000_000_000_000_000
    }
}

extension VmConfig.Throttle.Limit {
    /// The parameter of `-drive`, to which `-max` and `-max-length` are added.
    var parameter: String {
        switch self {
        case .bytesTotal: "throttling.bps-total"
        case .bytesRead: "throttling.bps-read"
        case .bytesWrite: "throttling.bps-write"
        case .requestsTotal: "throttling.iops-total"
        case .requestsRead: "throttling.iops-read"
        case .requestsWrite: "throttling.iops-write"
        }
    }

    /// The argument of block_set_io_throttle, to which `_max` and `_max_length` are added.
    var argument: String {
        switch self {
        case .bytesTotal: "bps"
        case .bytesRead: "bps_rd"
        case .bytesWrite: "bps_wr"
        case .requestsTotal: "iops"
        case .requestsRead: "iops_rd"
        case .requestsWrite: "iops_wr"
        }
    }

    var range: ClosedRange<UInt64> { 0...(isBytes ? VmConfig.Throttle.maximumRate : VmConfig.maximumIOPS) }
    static let lengthRange: ClosedRange<UInt64> = 1...UInt64(UInt32.max)
    static let sizeParameter = "throttling.iops-size"

    var isBytes: Bool { rawValue <= Self.bytesWrite.rawValue }
    var isTotal: Bool { self == .bytesTotal || self == .requestsTotal }

    fileprivate var help: String {
        let unit = isBytes ? "bytes" : "requests"
        return switch self {
        case .bytesTotal, .requestsTotal: "\(unit) a second, 0 for no limit"
        case .bytesRead, .requestsRead: "the same for reads"
        case .bytesWrite, .requestsWrite: "the same for writes"
        }
    }
}

extension OptionTable {
    /// What `-drive` takes of limits; QMP's commands keep the same rules.
    static var throttling: [ParameterSpec] {
        typealias Limit = VmConfig.Throttle.Limit
        return Limit.allCases.flatMap { limit in
            [
                ParameterSpec(limit.parameter, .integer(limit.range), limit.help),
                ParameterSpec("\(limit.parameter)-max", .integer(limit.range), "the same while a burst lasts"),
                ParameterSpec("\(limit.parameter)-max-length", .integer(Limit.lengthRange), "seconds that a burst lasts; default 1"),
            ]
        } + [ParameterSpec(Limit.sizeParameter, .integer(0...VmConfig.Throttle.maximumRate), "bytes; a larger request counts as several; default 0: as one")]
    }
}

extension VmConfig.Throttle {
    init(_ list: ParameterList) throws(CommandLineError) {
        for limit in Limit.allCases { self[limit] = try Self.rate(limit, list) }
        requestSize = list.number(Limit.sizeParameter) ?? 0
        for (total, parts) in [(Limit.bytesTotal, [Limit.bytesRead, .bytesWrite]), (.requestsTotal, [.requestsRead, .requestsWrite])] {
            guard self[total].average > 0, let part = parts.first(where: { self[$0].average > 0 }) else { continue }
            throw list.excludes(total.parameter, part.parameter)
        }
        if requestSize > 0, self[.requestsTotal].average == 0, self[.requestsRead].average == 0, self[.requestsWrite].average == 0 {
            throw list.invalid("\(list.label(Limit.sizeParameter)) needs a limit of requests")
        }
    }

    private static func rate(_ limit: Limit, _ list: ParameterList) throws(CommandLineError) -> Rate {
        let (key, most, length) = (limit.parameter, "\(limit.parameter)-max", "\(limit.parameter)-max-length")
        let rate = Rate(average: list.number(key) ?? 0, burst: list.number(most) ?? 0, burstSeconds: list.number(length) ?? 1)
        if rate.burst > 0, rate.average == 0 { throw list.invalid("\(list.label(most)) needs \(list.label(key))") }
        if rate.burst > 0, rate.burst < rate.average { throw list.invalid("\(list.label(most)) must not be below \(list.label(key))") }
        if rate.burstSeconds > 1, rate.burst == 0 { throw list.invalid("\(list.label(length)) needs \(list.label(most))") }
        let (product, overflow) = rate.burst.multipliedReportingOverflow(by: rate.burstSeconds)
        guard !overflow, product <= maximumRate else { throw list.invalid("\(list.label(length)) is too long for so large a burst") }
        return rate
    }

    /// What block_set_io_throttle says: the same limits as on the command line.
    init(command: String, _ arguments: [QMPParameter]) throws(CommandLineError) {
        try self.init(ParameterList(command: command, arguments, for: OptionTable.throttling))
    }
}
