extension QMPCommand {
    /// What a client may ask before it knows anything.
    static var session: [QMPCommand] {
        [
            QMPCommand(negotiation, [.optional("enable", .list(.id))], run: negotiate),
            QMPCommand("query-version", gives: version) { _, _ in .value(QMPAnswers.version) },
            QMPCommand("query-commands", gives: .list(.object([.required("name", .text)]))) { _, _ in
                .list(count: all.count) { index, output in
                    (["name": .string(all[index].name)] as JSONValue).write(to: &output)
                }
            },
            QMPCommand("query-events", gives: .list(.object([.required("name", .text)]))) { _, _ in
                .value(.array(QMPEvent.all.map { ["name": .string($0.name)] }))
            },
        ]
    }

    private static var version: QMPType {
        .object([
            .required("qemu", .object([.required("micro", .integer), .required("minor", .integer), .required("major", .integer)])),
            .required("package", .text),
        ])
    }

    /// The greeting offers no capability, so none can be enabled.
    private static func negotiate(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        guard case .array(let names)? = arguments["enable"], case .string(let name)? = names.first else { return .done }
        throw QMPError("capability \(quoted(name)) is not available")
    }
}
