internal import LinuxSys

extension QMPCommand {
    /// StratoVirt has the first two names, its documents and QEMU the others.
    static var trace: [QMPCommand] {
        [getState("trace-get-state"), setState("trace-set-state"), getState("trace-event-get-state"), setState("trace-event-set-state")]
    }

    private static func getState(_ name: String) -> QMPCommand {
        QMPCommand(name, [.required("name", .id), .optional("vcpu", .integer)], gives: .list(event)) { arguments, _ throws(QMPError) in
            let events = try find(arguments.requiredText("name"), name)
            return .value(.array(events.map { ["name": .string($0.name), "state": Trace.isEnabled($0) ? "enabled" : "disabled"] }))
        }
    }

    private static func setState(_ name: String) -> QMPCommand {
        QMPCommand(
            name, [.required("name", .id), .required("enable", .boolean), .optional("ignore-unavailable", .boolean), .optional("vcpu", .integer)]
        ) { arguments, _ throws(QMPError) in
            for event in try find(arguments.requiredText("name"), name) { Trace.set(event, enabled: arguments.bool("enable") ?? false) }
            return .done
        }
    }

    private static var event: QMPType {
        .object([.required("name", .text), .required("state", .choice(["unavailable", "disabled", "enabled"]))])
    }

    /// A pattern may find nothing; a name must be one.
    private static func find(_ name: String, _ command: String) throws(QMPError) -> [TraceEvent] {
        let events = Trace.events(matching: name)
        let isPattern = name.utf8.contains(UInt8(ascii: "*")) || name.utf8.contains(UInt8(ascii: "?"))
        guard isPattern || !events.isEmpty else { throw QMPError("\(command): there is no trace event \(quoted(name))") }
        return events
    }
}
