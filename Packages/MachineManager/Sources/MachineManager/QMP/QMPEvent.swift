/// An event that clients are told, with the type of its data. `query-events` and `query-qmp-schema` read it.
struct QMPEvent: Sendable {
    let name: String
    let data: [QMPMember]

    private static var end: [QMPMember] { [.required("guest", .boolean), .required("reason", .text)] }

    static var all: [QMPEvent] {
        [
            QMPEvent(name: "STOP", data: []),
            QMPEvent(name: "RESUME", data: []),
            QMPEvent(name: "POWERDOWN", data: []),
            QMPEvent(name: "RESET", data: end),
            QMPEvent(name: "SHUTDOWN", data: end),
            QMPEvent(name: "DEVICE_DELETED", data: [.required("device", .text), .required("path", .text)]),
        ]
    }
}
