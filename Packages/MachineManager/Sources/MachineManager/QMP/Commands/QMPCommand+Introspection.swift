extension QMPCommand {
    /// The server about itself.
    static var introspection: [QMPCommand] {
        [
            QMPCommand("query-qmp-schema", gives: .list(.any)) { _, _ in
                .list(count: QMPSchema.count) { index, output in QMPSchema.write(index, to: &output) }
            },
            QMPCommand("query-command-line-options", [.optional("option", .id)], gives: .list(option), run: options),
        ]
    }

    private static var option: QMPType {
        .object([
            .required("option", .text),
            .required(
                "parameters",
                .list(
                    .object([
                        .required("name", .text), .required("type", .choice(["string", "boolean", "number", "size"])), .optional("help", .text),
                    ]))),
        ])
    }

    private static func options(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        let wanted = arguments.text("option")
        let rows = OptionTable.all.filter { $0.id != .unsupported && (wanted == nil || $0.name == wanted) }
        if let wanted, rows.isEmpty { throw QMPError("query-command-line-options: there is no option \(quoted(wanted))") }
        return .list(count: rows.count) { index, output in
            let row = rows[index]
            let entry: JSONValue = ["option": .string(row.name), "parameters": .array(row.allParameters.compactMap(Self.parameter))]
            entry.write(to: &output)
        }
    }

    private static func parameter(_ spec: ParameterSpec) -> JSONValue? {
        guard let type = spec.kind.commandLineType else { return nil }
        var entry: JSONObject = ["name": .string(spec.key), "type": .string(type)]
        if !spec.help.isEmpty { entry["help"] = .string(spec.help) }
        return .object(entry)
    }
}

extension OptionSpec {
    /// The parameters of the option; of all its variants, each once.
    fileprivate var allParameters: [ParameterSpec] {
        guard case .variants(_, let variants) = head else { return parameters }
        var found: [ParameterSpec] = []
        for parameter in variants.flatMap(\.parameters) where !found.contains(where: { $0.key == parameter.key }) { found.append(parameter) }
        return found
    }
}

extension OptionTable {
    /// The kinds of device that this version has.
    static var deviceVariants: [OptionVariant] {
        for case .variants(_, let variants) in all.filter({ $0.id == .device }).map(\.head) { return variants.filter(\.isSupported) }
        return []
    }
}

extension ParameterKind {
    /// As QEMU's CommandLineParameterType; nil for a parameter that this version refuses.
    fileprivate var commandLineType: String? {
        switch self {
        case .onOff, .flag, .onlyOff: "boolean"
        case .integer, .integerOrAuto, .powerOfTwo, .address: "number"
        case .size: "size"
        case .numbers, .text, .path, .choice, .descriptor, .descriptors, .interface, .mac, .ignored: "string"
        case .unsupported, .misplaced: nil
        }
    }

    /// The type of the property in QEMU's object model; nil for a parameter that this version refuses.
    var objectType: String? {
        switch self {
        case .onOff, .flag, .onlyOff: "bool"
        case .integer, .integerOrAuto, .powerOfTwo: "uint32"
        case .address: "uint64"
        case .size: "size"
        case .numbers, .text, .path, .choice, .descriptor, .descriptors, .interface, .mac, .ignored: "str"
        case .unsupported, .misplaced: nil
        }
    }
}
