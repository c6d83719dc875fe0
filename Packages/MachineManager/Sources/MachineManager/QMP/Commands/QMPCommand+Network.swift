internal import LinuxSys

extension QMPCommand {
    /// Network back ends, apart from the devices that show them to the guest, and links.
    static var network: [QMPCommand] {
        [
            QMPCommand("netdev_add", netdevArguments, run: addNetdev),
            QMPCommand("netdev_del", [.required("id", .id)]) { arguments, context throws(QMPError) in
                do throws(MachineControlError) { try context.control.removeNetdev(arguments.requiredText("id")) } catch { throw QMPError(error) }
                return .done
            },
            QMPCommand(
                "netdev_replace",
                [.required("id", .id), .optional("ifname", .id), .optional("path", .path), .optional("macnat", .onOff)], run: replaceNetdev),
            QMPCommand("netlink_set", [.required("id", .id), .required("up", .boolean)]) { arguments, context throws(QMPError) in
                do throws(MachineControlError) { try context.control.setLink(arguments.requiredText("id"), up: arguments.bool("up") ?? true) } catch { throw QMPError(error) }
                return .done
            },
        ]
    }

    private static var netdevArguments: [QMPMember] {
        [
            .required("id", .id), .optional("type", .choice(["tap", "stream", "vhost-user"])), .optional("ifname", .id), .optional("path", .path),
            .optional("fd", .path), .optional("fds", .path), .optional("queues", .numeric(1...Int64(VmConfig.maximumQueuePairs))),
            .optional("vhost", .onOff), .optional("vhostfd", .path), .optional("vhostfds", .path), .optional("macnat", .onOff),
            .optional("chardev", .id), .optional("script", .path), .optional("downscript", .path), .optional("dnssearch", .any),
            .optional("addr", socketAddress), .optional("server", .onOff), .optional("reconnect", .numeric(0...Int64(VmConfig.maximumReconnectSeconds))),
            .optional("reconnect-ms", .numeric(0...Int64(UInt32.max))),
        ]
    }

    /// As QEMU's SocketAddress.
    private static var socketAddress: QMPType {
        .object([
            .required("type", .choice(["unix", "inet", "fd"])), .optional("path", .path), .optional("host", .id), .optional("port", .numeric(1...65535)),
            .optional("str", .id),
        ])
    }

    /// Of one type only.
    private static let tapKeys = ["ifname", "path", "fd", "fds", "queues", "vhost", "vhostfd", "vhostfds", "macnat"]
    private static let streamKeys = ["addr", "server", "reconnect", "reconnect-ms"]

    private static func addNetdev(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        // StratoVirt's documents leave the type out.
        let type = arguments.text("type") ?? "tap"
        guard type == "tap" || type == "stream" else { throw QMPError("netdev_add 'type' \(type): not supported yet") }
        guard arguments["chardev"] == nil else { throw QMPError("netdev_add: argument 'chardev' goes with type vhost-user, not with \(type)") }
        for key in type == "tap" ? streamKeys : tapKeys where arguments[key] != nil {
            throw QMPError("netdev_add: argument '\(key)' does not go with type \(type)")
        }
        if type == "stream" { return try addStream(arguments, context) }
        let netdev: VmConfig.Netdev
        do { netdev = try VmConfig.Netdev(command: "netdev_add", (["id"] + tapKeys).compactMap { arguments.parameter($0) }) } catch { throw QMPError(error) }
        guard case .tap(let tap) = netdev.backend else { return .done }
        let numbers = try context.descriptors.resolve(tap.descriptors + tap.vhostDescriptors, for: "netdev_add")
        do {
            try context.control.addNetdev(
                netdev, descriptors: Array(numbers.prefix(tap.descriptors.count)), vhostDescriptors: Array(numbers.dropFirst(tap.descriptors.count)))
        } catch { throw QMPError(error) }
        return .done
    }

    private static func addStream(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        let address = arguments.members("addr")
        var parameters = ["id", "server", "reconnect", "reconnect-ms"].map { arguments.parameter($0) }
        parameters += ["type", "path", "host", "port", "str"].map { (key: String) in address.parameter("addr.\(key)", from: key, in: "addr") }
        let netdev: VmConfig.Netdev
        do { netdev = try VmConfig.Netdev(streamOf: "netdev_add", parameters.compactMap(\.self)) } catch { throw QMPError(error) }
        guard case .stream(let stream) = netdev.backend else { return .done }
        var descriptors: [Int32] = []
        if case .descriptor(let descriptor) = stream.address { descriptors = try context.descriptors.resolve([descriptor], for: "netdev_add") }
        do { try context.control.addNetdev(netdev, descriptors: descriptors, vhostDescriptors: []) } catch { throw QMPError(error) }
        return .done
    }

    private static func replaceNetdev(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        guard arguments["ifname"] != nil || arguments["path"] != nil else { throw QMPError("netdev_replace: argument 'ifname' or 'path' is missing") }
        let netdev: VmConfig.Netdev
        do {
            netdev = try VmConfig.Netdev(
                command: "netdev_replace", ["id", "ifname", "path", "macnat"].compactMap { arguments.parameter($0) })
        } catch { throw QMPError(error) }
        do throws(MachineControlError) { try context.control.replaceNetdev(netdev) } catch { throw QMPError(error) }
        return .done
    }
}
