extension QMPCommand {
    /// Disk images: their nodes, apart from the devices that show them to the guest.
    static var block: [QMPCommand] {
        [
            QMPCommand("blockdev-add", blockdevArguments, run: addNode),
            QMPCommand("blockdev-del", [.required("node-name", .id)]) { arguments, context throws(QMPError) in
                do throws(MachineControlError) { try context.control.removeBlockNode(arguments.requiredText("node-name")) } catch { throw QMPError(error) }
                return .done
            },
            QMPCommand("query-block", gives: .list(blockDevice)) { _, context in
                .value(.array(context.control.blockNodes().map(QMPAnswers.blockDevice)))
            },
            QMPCommand("query-named-block-nodes", [.optional("flat", .boolean)], gives: .list(blockNode)) { _, context in
                .value(.array(context.control.blockNodes().map(QMPAnswers.blockNode)))
            },
            QMPCommand("query-blockstats", [.optional("query-nodes", .boolean)], gives: .list(blockStatistics)) { arguments, context in
                let isNode = arguments.bool("query-nodes") ?? false
                let nodes = context.control.blockNodes().filter { isNode || $0.device != nil }
                return .value(.array(nodes.map { QMPAnswers.blockStatistics($0, isNode: isNode) }))
            },
        ]
    }

    private static var blockdevArguments: [QMPMember] {
        [
            .required("node-name", .id),
            .required(
                "file",
                .object([
                    .required("driver", .choice(["file", "host_device"])), .required("filename", .path),
                    .optional("aio", .choice(["native", "io_uring", "threads", "off"])),
                ])),
            .optional("driver", .choice(["raw", "qcow2"])),
            .optional("cache", .object([.optional("direct", .boolean), .optional("no-flush", .boolean)])),
            .optional("read-only", .boolean),
            .optional("discard", .choice(["ignore", "unmap"])),
            .optional("detect-zeroes", .choice(["off", "on", "unmap"])),
            .optional("media", .choice(["disk", "cdrom"])),
            .optional("l2-cache-size", .any),
            .optional("refcount-cache-size", .any),
            .optional("backing", .any),
            .optional("id", .id),
            .optional("options", .path),
        ] + throttlingArguments
    }

    /// Which rules the arguments share with `-drive`, under that option's names.
    private static func addNode(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        switch arguments["backing"] {
        case nil, .null?, .string("")?: break
        default: throw QMPError("blockdev-add: a raw image has no backing image")
        }
        let file = arguments.members("file")
        let cache = arguments.members("cache")
        let parameters = [
            arguments.parameter("id", from: "node-name"), file.parameter("file", from: "filename", in: "file"),
            file.parameter("aio", in: "file"), arguments.parameter("format", from: "driver"), cache.parameter("direct", in: "cache"),
            cache.parameter("cache.no-flush", from: "no-flush", in: "cache"),
            arguments.parameter("readonly", from: "read-only"), arguments.parameter("discard"), arguments.parameter("detect-zeroes"),
            arguments.parameter("media"), arguments.parameter("l2-cache-size"), arguments.parameter("refcount-cache-size"),
        ] + throttlingParameters(arguments)
        let drive: VmConfig.Drive
        do { drive = try VmConfig.Drive(command: "blockdev-add", parameters.compactMap(\.self)) } catch { throw QMPError(error) }
        do throws(MachineControlError) { try context.control.addBlockNode(drive) } catch { throw QMPError(error) }
        return .done
    }

    private static var blockDevice: QMPType {
        .object([
            .required("device", .text), .optional("qdev", .text), .required("type", .text), .required("removable", .boolean),
            .required("locked", .boolean), .optional("inserted", blockNode),
        ])
    }

    private static var blockStatistics: QMPType {
        let kinds = ["rd", "wr", "unmap"]
        let names =
            kinds.flatMap { ["\($0)_bytes", "\($0)_merged"] }
            + (kinds + ["flush"]).flatMap { ["\($0)_operations", "\($0)_total_time_ns", "failed_\($0)_operations", "invalid_\($0)_operations"] }
        let stats =
            names.map { QMPMember.required($0, .integer) } + [
                .required("wr_highest_offset", .integer), .optional("idle_time_ns", .integer), .required("account_invalid", .boolean),
                .required("account_failed", .boolean), .required("timed_stats", .list(.any)),
            ]
        return .object([
            .optional("device", .text), .optional("qdev", .text), .required("node-name", .text), .required("stats", .object(stats)),
        ])
    }

    /// As QEMU's BlockDeviceInfo; `aio` is the engine that serves the image, which QEMU does not tell.
    private static var blockNode: QMPType {
        .object(
            [
                .required("file", .text), .required("node-name", .text), .required("ro", .boolean), .required("drv", .text),
                .required("backing_file_depth", .integer), .required("encrypted", .boolean), .required("detect_zeroes", .choice(["off", "on", "unmap"])),
            ] + throttleMembers + [
                .required("image", .object([.required("filename", .text), .required("format", .text), .required("virtual-size", .integer)])),
                .required("cache", .object([.required("writeback", .boolean), .required("direct", .boolean), .required("no-flush", .boolean)])),
                .required("write_threshold", .integer), .required("aio", .choice(["native", "io_uring", "threads", "off"])),
            ])
    }
}
