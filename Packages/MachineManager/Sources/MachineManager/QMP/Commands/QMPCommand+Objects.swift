extension QMPCommand {
    /// As much of QEMU's object tree as its clients look for: the machine, its devices with an id, its vCPUs and its iothreads.
    static var objects: [QMPCommand] {
        [
            QMPCommand("qom-list", [.required("path", .path)], gives: .list(property)) { arguments, context throws(QMPError) in
                let object = try find(arguments.requiredText("path"), context)
                return .value(.array(object.properties.map { ["name": .string($0.name), "type": .string($0.type)] }))
            },
            QMPCommand("qom-get", [.required("path", .path), .required("property", .id)], gives: .any) { arguments, context throws(QMPError) in
                let (path, name) = (arguments.requiredText("path"), arguments.requiredText("property"))
                guard let property = try find(path, context).properties.first(where: { $0.name == name }) else {
                    throw QMPError("qom-get: \(quoted(path)) has no property \(quoted(name))")
                }
                return .value(property.value)
            },
            QMPCommand("qom-set", [.required("path", .path), .required("property", .id), .required("value", .any)]) { arguments, context throws(QMPError) in
                let (path, name) = (arguments.requiredText("path"), arguments.requiredText("property"))
                guard let property = try find(path, context).properties.first(where: { $0.name == name }) else {
                    throw QMPError("qom-set: \(quoted(path)) has no property \(quoted(name))")
                }
                guard let setter = property.setter else { throw QMPError("qom-set: property \(quoted(name)) of \(quoted(path)) cannot be set") }
                let value = arguments["value"] ?? .null
                try setter.type.check(value, "value", of: "qom-set")
                try setter.set(value)
                return .done
            },
            QMPCommand("qom-list-types", [.optional("implements", .id), .optional("abstract", .boolean)], gives: .list(type)) { arguments, _ in
                // Devices are the only types that can be made by name.
                guard ["device", "object", nil].contains(arguments.text("implements")) else { return .value([]) }
                return .value(.array(OptionTable.deviceVariants.map { ["name": .string($0.name), "parent": "device"] }))
            },
            QMPCommand("device-list-properties", [.required("typename", .id)], gives: .list(property)) { arguments, _ throws(QMPError) in
                let name = arguments.requiredText("typename")
                guard let variant = OptionTable.deviceVariants.first(where: { $0.name == name }) else {
                    throw QMPError(.deviceNotFound, "there is no device type \(quoted(name))")
                }
                return .value(
                    .array(
                        variant.parameters.compactMap { parameter in
                            parameter.kind.objectType.map { ["name": .string(parameter.key), "type": .string($0)] }
                        }))
            },
        ]
    }

    private static var property: QMPType { .object([.required("name", .text), .required("type", .text)]) }
    private static var type: QMPType { .object([.required("name", .text), .optional("parent", .text)]) }

    private struct Property {
        let name: String
        let type: String
        let value: JSONValue
        /// Nil when it cannot be set; `set` gets a value that is of the type.
        var setter: (type: QMPType, set: (JSONValue) throws(QMPError) -> Void)?

        static func text(_ name: String, _ value: String) -> Property { Property(name: name, type: "string", value: .string(value)) }
        static func child(_ name: String, _ type: String, at path: String) -> Property {
            Property(name: name, type: "child<\(type)>", value: .string(path))
        }
    }

    private struct Object {
        let properties: [Property]

        init(_ type: String, _ properties: [Property] = []) { self.properties = [.text("type", type)] + properties }
    }

    private static func find(_ path: String, _ context: QMPContext) throws(QMPError) -> Object {
        let parts = path.split(separator: "/").map(String.init)
        switch (path.hasPrefix("/"), parts.count, parts.first, parts.dropFirst().first) {
        case (true, 0, _, _):
            return Object("container", [.child("machine", machineName, at: "/machine"), .child("objects", "container", at: "/objects")])
        case (true, 1, "machine"?, _):
            return Object(
                machineName,
                [.child("peripheral", "container", at: "/machine/peripheral"), .child("unattached", "container", at: "/machine/unattached")])
        case (true, 2, "machine"?, "peripheral"?):
            return Object("container", context.control.devices().map { .child($0.id, $0.driver, at: DeviceInfo.path(id: $0.id)) })
        case (true, 2, "machine"?, "unattached"?):
            return Object("container", context.control.cpus().map { .child("device[\($0.id)]", context.control.architecture.cpuType, at: QMPAnswers.path($0.id)) })
        case (true, 1, "objects"?, _):
            return Object("container", context.control.iothreads().map { .child($0.id, "iothread", at: "/objects/\($0.id)") })
        case (true, 2, "objects"?, let id?):
            if let thread = context.control.iothreads().first(where: { $0.id == id }) {
                return Object("iothread", [Property(name: "thread-id", type: "int", value: .integer(Int64(thread.threadID)))])
            }
        case (true, 3, "machine"?, "peripheral"?):
            if let device = context.control.devices().first(where: { $0.id == parts[2] }) {
                let backend: [Property] = device.backend.map { [.text("backend", $0)] } ?? []
                return Object(device.driver, backend + balloonProperties(of: device, context) + memoryProperties(of: device, context))
            }
        case (true, 3, "machine"?, "unattached"?):
            if let cpu = context.control.cpus().first(where: { "device[\($0.id)]" == parts[2] }) {
                return Object(context.control.architecture.cpuType, [Property(name: "thread-id", type: "int", value: .integer(Int64(cpu.threadID)))])
            }
        default: break
        }
        throw QMPError(.deviceNotFound, "there is no object at \(quoted(path))")
    }

    /// Where QEMU's clients look for the guest's statistics (docs/interop/virtio-balloon-stats.rst).
    private static func balloonProperties(of device: DeviceInfo, _ context: QMPContext) -> [Property] {
        guard let balloon = context.control.balloon(), balloon.id == device.id else { return [] }
        var polling = Property(name: "guest-stats-polling-interval", type: "int", value: .integer(Int64(balloon.pollingInterval)))
        polling.setter = (.integer(0...Int64(UInt32.max)), { value in
            if case .integer(let seconds) = value { context.control.setBalloonPolling(UInt32(clamping: seconds)) }
        })
        return [
            Property(name: "guest-stats", type: "guest statistics", value: QMPAnswers.guestStatistics(balloon)), polling,
            Property(name: "deflate-on-oom", type: "bool", value: .bool(balloon.deflatesOnOOM)),
            Property(name: "free-page-reporting", type: "bool", value: .bool(balloon.reportsFreePages)),
        ]
    }

    private static func memoryProperties(of device: DeviceInfo, _ context: QMPContext) -> [Property] {
        guard let device = context.control.memoryDevices().first(where: { $0.id == device.id }) else { return [] }
        func bytes(_ name: String, _ value: UInt64) -> Property { Property(name: name, type: "size", value: .integer(Int64(clamping: value))) }
        switch device.kind {
        case .persistent: return [bytes("memaddr", device.address), bytes("size", device.size)]
        case .resizable(let requested, let plugged, let blockSize, _):
            // By which QEMU's clients do what set-viomem does.
            var size = bytes("requested-size", requested)
            size.setter = (.size, { value throws(QMPError) in try resize(device.id, value, context) })
            return [bytes("memaddr", device.address), bytes("size", plugged), size, bytes("block-size", blockSize)]
        }
    }

    private static let machineName = "microvm-machine"
}
