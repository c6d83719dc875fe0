extension QMPCommand {
    /// Memory that comes and goes, and persistent memory.
    static var memoryDevices: [QMPCommand] {
        [
            QMPCommand("set-viomem", [.required("id", .id), .required("requested-size", .size)]) { arguments, context throws(QMPError) in
                try resize(arguments.requiredText("id"), arguments["requested-size"] ?? .null, context)
                return .done
            },
            QMPCommand("get-viomem", [.required("id", .id)], gives: .object(resizable)) { arguments, context throws(QMPError) in
                let id = arguments.requiredText("id")
                guard let device = context.control.memoryDevices().first(where: { $0.id == id }), case .resizable = device.kind else {
                    throw QMPError(.deviceNotFound, "get-viomem: there is no virtio-mem-device with the id \(quoted(id))")
                }
                return .value(data(of: device))
            },
            QMPCommand("query-memory-devices", gives: .list(.object([.required("type", .choice(["virtio-mem", "virtio-pmem"])), .required("data", .any)]))) {
                _, context in
                .value(
                    .array(
                        context.control.memoryDevices().map { device in
                            let type = if case .persistent = device.kind { "virtio-pmem" } else { "virtio-mem" }
                            return ["type": .string(type), "data": data(of: device)]
                        }))
            },
        ]
    }

    /// `size` is of the type `size`.
    static func resize(_ id: String, _ size: JSONValue, _ context: QMPContext) throws(QMPError) {
        do throws(MachineControlError) { try context.control.resizeMemoryDevice(id, to: QMPType.bytes(size) ?? 0) } catch { throw QMPError(error) }
    }

    /// As QEMU's VirtioMEMDeviceInfo.
    private static var resizable: [QMPMember] {
        [
            .required("id", .text), .required("memaddr", .integer), .required("requested-size", .integer), .required("size", .integer),
            .required("max-size", .integer), .required("block-size", .integer), .required("node", .integer), .required("memdev", .text),
        ]
    }

    private static func data(of device: MemoryDeviceInfo) -> JSONValue {
        var object: JSONObject = ["id": .string(device.id), "memaddr": .integer(Int64(clamping: device.address))]
        switch device.kind {
        case .persistent: object["size"] = .integer(Int64(clamping: device.size))
        case .resizable(let requested, let plugged, let blockSize, let node):
            object["requested-size"] = .integer(Int64(clamping: requested))
            object["size"] = .integer(Int64(clamping: plugged))
            object["max-size"] = .integer(Int64(clamping: device.size))
            object["block-size"] = .integer(Int64(clamping: blockSize))
            object["node"] = .integer(Int64(node ?? 0))
        }
        object["memdev"] = .string("/objects/\(device.memdev)")
        return .object(object)
    }
}
