extension QMPCommand {
    /// What disks without a format of their own and without jobs can say.
    static var blockStubs: [QMPCommand] {
        [
            QMPCommand("query-block-jobs", gives: .list(.any)) { _, _ in .value([]) },
            QMPCommand("block-commit", commitArguments) { arguments, context throws(QMPError) in
                try requireNode(arguments.requiredText("device"), context)
                throw QMPError("block-commit: \(quoted(arguments.requiredText("device"))) is a raw image and has no backing image to commit to")
            },
            QMPCommand("blockdev-snapshot-internal-sync", [.required("device", .id), .required("name", .id)]) { arguments, context throws(QMPError) in
                try requireNode(arguments.requiredText("device"), context)
                throw QMPError("blockdev-snapshot-internal-sync: \(quoted(arguments.requiredText("device"))) is a raw image, which holds no snapshots")
            },
            QMPCommand(
                "blockdev-snapshot-delete-internal-sync", [.required("device", .id), .optional("id", .id), .optional("name", .id)]
            ) { arguments, context throws(QMPError) in
                try requireNode(arguments.requiredText("device"), context)
                throw QMPError(
                    "blockdev-snapshot-delete-internal-sync: \(quoted(arguments.requiredText("device"))) is a raw image, which holds no snapshots")
            },
            QMPCommand("human-monitor-command", [.required("command-line", .path), .optional("cpu-index", .integer)], gives: .text) {
                arguments, _ throws(QMPError) in
                let line = arguments.requiredText("command-line")
                guard line.split(separator: " ").elementsEqual(["info", "snapshots"]) else {
                    throw QMPError("human-monitor-command: unknown command \(quoted(line)); only 'info snapshots' is there")
                }
                return .value("There is no snapshot available.\r\n")
            },
        ]
    }

    private static var commitArguments: [QMPMember] {
        [
            .optional("job-id", .id), .required("device", .id), .optional("base", .path), .optional("base-node", .id), .optional("top", .path),
            .optional("top-node", .id), .optional("backing-file", .path), .optional("speed", .integer), .optional("on-error", .id),
            .optional("filter-node-name", .id), .optional("auto-finalize", .boolean), .optional("auto-dismiss", .boolean),
        ]
    }

    /// Success that does nothing would be worse than an error here: who asks for a snapshot relies on having one.
    private static func requireNode(_ id: String, _ context: QMPContext) throws(QMPError) {
        guard context.control.blockNodes().contains(where: { $0.drive.id == id || $0.device == id }) else {
            throw QMPError(MachineControlError.deviceNotFound(id))
        }
    }
}
