extension QMPCommand {
    /// The guest's memory.
    static var memory: [QMPCommand] {
        [
            QMPCommand("query-memdev", gives: .list(memoryBackend)) { _, context in
                .value(.array(context.control.memoryBackends().map(answer)))
            },
            QMPCommand(
                "query-memory-size-summary", gives: .object([.required("base-memory", .integer), .optional("plugged-memory", .integer)])
            ) { _, context in
                let size = context.control.memorySize()
                return .value(["base-memory": .integer(Int64(clamping: size.base)), "plugged-memory": .integer(Int64(clamping: size.plugged))])
            },
        ]
    }

    private static var memoryBackend: QMPType {
        .object([
            .required("id", .text), .required("size", .integer), .required("merge", .boolean), .required("dump", .boolean),
            .required("prealloc", .boolean), .required("share", .boolean), .required("host-nodes", .list(.integer)),
            .required("policy", .choice(["default", "preferred", "bind", "interleave"])),
        ])
    }

    private static func answer(_ backend: VmConfig.MemoryBackend) -> JSONValue {
        let policy =
            switch backend.policy {
            case .standard: "default"
            case .preferred: "preferred"
            case .bind: "bind"
            case .interleave: "interleave"
            }
        return [
            "id": .string(backend.id), "size": .integer(Int64(clamping: backend.size)), "merge": false, "dump": .bool(backend.isDumped),
            "prealloc": .bool(backend.isPreallocated), "share": .bool(backend.isShared),
            "host-nodes": .array(backend.hostNodes.map { .integer(Int64(clamping: $0)) }), "policy": .string(policy),
        ]
    }
}
