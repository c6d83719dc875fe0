extension QMPCommand {
    /// There are no trace events yet: no name is one, and a pattern finds none. StratoVirt has the first two names, its documents and QEMU the others.
    static var trace: [QMPCommand] {
        [getState("trace-get-state"), setState("trace-set-state"), getState("trace-event-get-state"), setState("trace-event-set-state")]
    }

    private static func getState(_ name: String) -> QMPCommand {
        QMPCommand(name, [.required("name", .id), .optional("vcpu", .integer)], gives: .list(event)) { arguments, _ throws(QMPError) in
            try requirePattern(arguments.requiredText("name"), name)
            return .value([])
        }
    }

    private static func setState(_ name: String) -> QMPCommand {
        QMPCommand(
            name, [.required("name", .id), .required("enable", .boolean), .optional("ignore-unavailable", .boolean), .optional("vcpu", .integer)]
        ) { arguments, _ throws(QMPError) in
            try requirePattern(arguments.requiredText("name"), name)
            return .done
        }
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
