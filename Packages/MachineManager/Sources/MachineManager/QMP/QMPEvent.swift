/// An event that clients are told, with the type of its data. `query-events` and `query-qmp-schema` read it.
struct QMPEvent: Sendable {
    let name: String
    let data: [QMPMember]

    private static var end: [QMPMember] { [.required("guest", .boolean), .required("reason", .text)] }

    /// As QEMU's SocketAddress.
    private static var socketAddress: QMPType {
        .object([
            .required("type", .choice(["unix", "inet", "fd"])), .optional("path", .text), .optional("host", .text), .optional("port", .text),
            .optional("str", .text),
        ])
    }

    static var all: [QMPEvent] {
        [
            QMPEvent(name: "STOP", data: []),
            QMPEvent(name: "RESUME", data: []),
            QMPEvent(name: "POWERDOWN", data: []),
            QMPEvent(name: "RESET", data: end),
            QMPEvent(name: "SHUTDOWN", data: end),
            QMPEvent(name: "BALLOON_CHANGED", data: [.required("actual", .integer)]),
            QMPEvent(
                name: "MEMORY_DEVICE_SIZE_CHANGE", data: [.required("id", .text), .required("size", .integer), .required("qom-path", .text)]),
            QMPEvent(name: "DEVICE_DELETED", data: [.required("device", .text), .required("path", .text)]),
            QMPEvent(name: "NETDEV_STREAM_CONNECTED", data: [.required("netdev-id", .text), .required("addr", socketAddress)]),
            QMPEvent(name: "NETDEV_STREAM_DISCONNECTED", data: [.required("netdev-id", .text)]),
        ]
    }
}
