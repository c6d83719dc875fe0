extension QMPCommand {
    /// The memory that the guest has. What it says of it is a property of the device: see `objects`.
    static var balloon: [QMPCommand] {
        [
            QMPCommand("balloon", [.required("value", .integer(1 ... .max))]) { arguments, context throws(QMPError) in
                _ = try activeBalloon(context)
                context.control.setBalloon(UInt64(clamping: arguments.number("value") ?? .max))
                return .done
            },
            QMPCommand("query-balloon", gives: .object([.required("actual", .integer)])) { _, context throws(QMPError) in
                .value(["actual": .number(try activeBalloon(context).actual)])
            },
        ]
    }

    /// The sentence is QEMU's.
    private static func activeBalloon(_ context: QMPContext) throws(QMPError) -> BalloonInfo {
        guard let balloon = context.control.balloon() else { throw QMPError(.deviceNotActive, "No balloon device has been activated") }
        return balloon
    }
}

extension QMPAnswers {
    /// By tag, as QEMU names them (docs/interop/virtio-balloon-stats.rst).
    private static let statistics = [
        "stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory", "stat-total-memory", "stat-available-memory",
        "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail",
    ]

    /// What the guest has not said is -1 as an unsigned number.
    static func guestStatistics(_ balloon: BalloonInfo) -> JSONValue {
        var values = JSONObject()
        for (tag, name) in statistics.enumerated() {
            values[name] = .number((tag < balloon.statistics.count ? balloon.statistics[tag] : nil) ?? .max)
        }
        return ["stats": .object(values), "last-update": .number(balloon.lastUpdate)]
    }
}

extension JSONValue {
    static func number(_ value: UInt64) -> JSONValue { Int64(exactly: value).map { .integer($0) } ?? .unsigned(value) }
}
