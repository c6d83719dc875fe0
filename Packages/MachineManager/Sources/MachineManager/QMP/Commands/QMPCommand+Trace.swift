extension QMPCommand {
    /// There are no trace events yet: no name is one, and a pattern finds none.
    static var trace: [QMPCommand] {
        [
            QMPCommand("trace-get-state", [.required("name", .id), .optional("vcpu", .integer)], gives: .list(event)) { arguments, _ throws(QMPError) in
                try requirePattern(arguments.requiredText("name"), "trace-get-state")
                return .value([])
            },
            QMPCommand(
                "trace-set-state",
                [.required("name", .id), .required("enable", .boolean), .optional("ignore-unavailable", .boolean), .optional("vcpu", .integer)]
            ) { arguments, _ throws(QMPError) in
                try requirePattern(arguments.requiredText("name"), "trace-set-state")
                return .done
            },
        ]
    }

    private static var event: QMPType {
        .object([.required("name", .text), .required("state", .choice(["unavailable", "disabled", "enabled"]))])
    }

    private static func requirePattern(_ name: String, _ command: String) throws(QMPError) {
        guard name.utf8.contains(UInt8(ascii: "*")) || name.utf8.contains(UInt8(ascii: "?")) else {
            throw QMPError("\(command): there is no trace event \(quoted(name))")
        }
    }
}
