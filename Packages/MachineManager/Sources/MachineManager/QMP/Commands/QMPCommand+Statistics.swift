extension QMPCommand {
    /// Counters, in the shape of QEMU's qapi/stats.json. `stratovirt` among the providers and `device` among the targets are this program's own.
    static var statistics: [QMPCommand] {
        [
            QMPCommand("query-stats", statisticsArguments, gives: .list(statisticsResult), run: queryStatistics),
            QMPCommand("query-stats-schemas", [.optional("provider", provider)], gives: .list(statisticsSchema), run: querySchemas),
        ]
    }

    private static var provider: QMPType { .choice(StatisticsProvider.allCases.map(\.rawValue)) }
    private static var target: QMPType { .choice(StatisticsTarget.allCases.map(\.rawValue)) }

    private static var statisticsArguments: [QMPMember] {
        [
            .required("target", target),
            .optional("providers", .list(.object([.required("provider", provider), .optional("names", .list(.id))]))),
            .optional("vcpus", .list(.path)), .optional("devices", .list(.path)),
        ]
    }

    private static var statisticsResult: QMPType {
        .object([
            .required("provider", provider), .optional("qom-path", .text),
            .required("stats", .list(.object([.required("name", .text), .required("value", .any)]))),
        ])
    }

    private static var statisticsSchema: QMPType {
        .object([
            .required("provider", provider), .required("target", target),
            .required(
                "stats",
                .list(
                    .object([
                        .required("name", .text),
                        .required("type", .choice(["cumulative", "instant", "peak", "linear-histogram", "log2-histogram"])),
                        .optional("unit", .choice(["bytes", "seconds", "cycles", "boolean"])), .optional("base", .integer), .required("exponent", .integer),
                        .optional("bucket-size", .integer),
                    ]))),
        ])
    }

    /// The parts of the answer, one for each object, are made as they are written: those of a large machine together would be larger than the program.
    private static func queryStatistics(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        let target = arguments.text("target").flatMap(StatisticsTarget.init) ?? .vm
        let filters: [(name: String, target: StatisticsTarget)] = [("vcpus", .vcpu), ("devices", .device)]
        var sources = context.control.statisticsSources(target)
        for filter in filters where arguments[filter.name] != nil {
            guard filter.target == target else {
                throw QMPError("query-stats: argument \(quoted(filter.name)) goes with target \(quoted(filter.target.rawValue))")
            }
            let wanted = arguments.texts(filter.name)
            sources.removeAll { source in source.path.map(wanted.contains) != true }
        }
        var parts: [(source: StatisticsSource, names: [String]?)] = []
        for provider in StatisticsProvider.allCases {
            for names in wantedNames(of: provider, arguments) {
                parts += sources.filter { $0.provider == provider }.map { ($0, names) }
            }
        }
        let control = context.control
        // As in QEMU, an object without any of the names is left out.
        parts.removeAll { part in part.names != nil && select(part.names, control.statistics(of: part.source)).isEmpty }
        let wanted = parts
        return .list(count: wanted.count) { index, output in
            let (source, names) = wanted[index]
            QMPAnswers.statistics(select(names, control.statistics(of: source)), of: source).write(to: &output)
        }
    }

    /// For each request to a provider the names that it asks for; nil is all of them.
    private static func wantedNames(of provider: StatisticsProvider, _ arguments: QMPArguments) -> [[String]?] {
        guard case .array(let requests)? = arguments["providers"] else { return [nil] }
        return requests.compactMap { request in
            guard case .object(let object) = request else { return nil }
            let members = QMPArguments(object)
            guard members.text("provider") == provider.rawValue else { return nil }
            return .some(members["names"] == nil ? nil : members.texts("names"))
        }
    }

    private static func select(_ names: [String]?, _ statistics: [Statistic]) -> [Statistic] {
        guard let names else { return statistics }
        return statistics.filter { names.contains($0.name) }
    }

    private static func querySchemas(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        let provider = arguments.text("provider")
        var schemas: [JSONValue] = []
        for target in StatisticsTarget.allCases {
            let sources = context.control.statisticsSources(target)
            for candidate in StatisticsProvider.allCases where provider == nil || provider == candidate.rawValue {
                var statistics: [Statistic] = []
                // All vCPUs have the same; devices have what their kind has.
                for source in sources.filter({ $0.provider == candidate }).prefix(target == .vcpu ? 1 : .max) {
                    statistics += context.control.statistics(of: source).filter { new in !statistics.contains { $0.name == new.name } }
                }
                if !statistics.isEmpty { schemas.append(QMPAnswers.schema(statistics, candidate, target)) }
            }
        }
        return .value(.array(schemas))
    }
}

extension QMPAnswers {
    static func statistics(_ statistics: [Statistic], of source: StatisticsSource) -> JSONValue {
        var object: JSONObject = ["provider": .string(source.provider.rawValue)]
        object["qom-path"] = source.path.map(JSONValue.string)
        object["stats"] = .array(
            statistics.map { statistic in
                let value: JSONValue =
                    switch statistic.value {
                    case .scalar(let number): number.json
                    case .boolean(let bool): .bool(bool)
                    case .list(let numbers): .array(numbers.map(\.json))
                    }
                return ["name": .string(statistic.name), "value": value]
            })
        return .object(object)
    }

    static func schema(_ statistics: [Statistic], _ provider: StatisticsProvider, _ target: StatisticsTarget) -> JSONValue {
        [
            "provider": .string(provider.rawValue), "target": .string(target.rawValue),
            "stats": .array(
                statistics.map { statistic in
                    var object: JSONObject = ["name": .string(statistic.name), "type": .string(name(statistic.kind))]
                    object["unit"] = statistic.unit.map { .string($0.rawValue) }
                    if statistic.exponent != 0 { object["base"] = .integer(Int64(statistic.base)) }
                    object["exponent"] = .integer(Int64(statistic.exponent))
                    if case .linearHistogram(let size) = statistic.kind { object["bucket-size"] = .integer(Int64(size)) }
                    return .object(object)
                }),
        ]
    }

    private static func name(_ kind: Statistic.Kind) -> String {
        switch kind {
        case .cumulative: "cumulative"
        case .instant: "instant"
        case .peak: "peak"
        case .linearHistogram: "linear-histogram"
        case .logHistogram: "log2-histogram"
        }
    }

    /// As QEMU's BlockStats (qapi/block-core.json). `isNode`: without the device.
    static func blockStatistics(_ node: BlockNodeInfo, isNode: Bool) -> JSONValue {
        let counts = node.statistics
        var stats = JSONObject()
        let kinds: [(String, BlockNodeStatistics.Operations)] = [
            ("rd", counts.reads), ("wr", counts.writes), ("unmap", counts.discards), ("flush", counts.flushes),
        ]
        for (name, operations) in kinds {
            stats["\(name)_operations"] = operations.count.json
            stats["\(name)_total_time_ns"] = operations.time.json
            stats["failed_\(name)_operations"] = operations.failed.json
            stats["invalid_\(name)_operations"] = operations.invalid.json
            if name == "flush" { continue }
            stats["\(name)_bytes"] = operations.bytes.json
            stats["\(name)_merged"] = operations.merged.json
        }
        stats["wr_highest_offset"] = counts.highestWrite.json
        stats["idle_time_ns"] = counts.idle?.json
        stats["account_invalid"] = true
        stats["account_failed"] = true
        stats["timed_stats"] = []
        var object = JSONObject()
        if !isNode {
            object["device"] = .string(node.drive.id)
            object["qdev"] = node.device.map { .string(DeviceInfo.path(id: $0)) }
        }
        object["node-name"] = .string(node.drive.id)
        object["stats"] = .object(stats)
        return .object(object)
    }
}

extension UInt64 {
    fileprivate var json: JSONValue { Int64(exactly: self).map(JSONValue.integer) ?? .unsigned(self) }
}
