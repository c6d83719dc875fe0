/// The shapes of what the server says. Names and nesting are those of QEMU's QAPI schema, which clients know.
enum QMPAnswers {
    static var greeting: JSONValue {
        ["QMP": ["version": version, "capabilities": []]]
    }

    /// StratoVirt presents itself as QEMU 5.0.1; clients decide by these numbers what they may send.
    static var version: JSONValue {
        ["qemu": ["micro": 1, "minor": 0, "major": 5], "package": .string("StratoVirt-\(ProductVersion.text)")]
    }

    static func status(_ state: VMState) -> JSONValue {
        let name: String =
            switch state {
            case .created: "prelaunch"
            case .running: "running"
            case .paused: "paused"
            case .shutdown: "shutdown"
            }
        return ["status": .string(name), "running": .bool(state == .running), "singlestep": false]
    }

    static func cpu(_ cpu: CPUInfo, _ architecture: GuestArchitecture) -> JSONValue {
        [
            "CPU": .integer(Int64(cpu.id)),
            "current": .bool(cpu.id == 0),
            "halted": false,
            "qom_path": .string(path(cpu.id)),
            "thread_id": .integer(Int64(cpu.threadID)),
            "arch": .string(architecture.processor),
            "props": place(cpu.place),
        ]
    }

    static func slot(_ slot: CPUSlot, _ architecture: GuestArchitecture) -> JSONValue {
        var object: JSONObject = ["type": .string(architecture.cpuType), "vcpus-count": 1, "props": place(slot.place)]
        object["qom-path"] = slot.cpu.map { .string(path($0)) }
        return .object(object)
    }

    static func iothread(_ thread: IOThreadInfo) -> JSONValue {
        [
            "id": .string(thread.id), "thread-id": .integer(Int64(thread.threadID)), "poll-max-ns": .integer(Int64(clamping: thread.polling)),
            "poll-grow": 0, "poll-shrink": 0,
        ]
    }

    static var machines: JSONValue {
        let kinds: [(String, UInt64, Bool)] = [("none", 1, false), ("microvm", VmConfig.maximumCPUs, true)]
        return .array(
            kinds.map { name, limit, isDefault in
                [
                    "name": .string(name), "is-default": .bool(isDefault), "cpu-max": .integer(Int64(clamping: limit)), "hotpluggable-cpus": false,
                    "numa-mem-supported": .bool(isDefault), "deprecated": false,
                ]
            })
    }

    static func blockNode(_ node: BlockNodeInfo) -> JSONValue {
        let drive = node.drive
        var object: JSONObject = [
            "file": .string(drive.file), "node-name": .string(drive.id), "ro": .bool(drive.isReadOnly), "drv": "raw", "backing_file_depth": 0,
            "encrypted": false, "detect_zeroes": .string(drive.zeroDetection.rawValue),
        ]
        add(drive.throttle, to: &object)
        object["image"] = ["filename": .string(drive.file), "format": "raw", "virtual-size": .integer(Int64(clamping: node.size))]
        object["cache"] = ["writeback": .bool(!drive.writesThrough), "direct": .bool(drive.isDirect), "no-flush": .bool(drive.ignoresFlushes)]
        object["write_threshold"] = 0
        object["aio"] = .string(node.engine.name)
        return .object(object)
    }

    static func blockDevice(_ node: BlockNodeInfo) -> JSONValue {
        var object: JSONObject = ["device": .string(node.drive.id)]
        object["qdev"] = node.device.map { .string(DeviceInfo.path(id: $0)) }
        object["type"] = "unknown"
        object["removable"] = false
        object["locked"] = false
        object["inserted"] = blockNode(node)
        return .object(object)
    }

    static func event(_ event: MachineEvent, realtimeNanoseconds now: UInt64) -> JSONValue {
        var object: JSONObject = ["event": .string(name(event))]
        object["data"] = data(event)
        object["timestamp"] = [
            "seconds": .integer(Int64(clamping: now / 1_000_000_000)),
            "microseconds": .integer(Int64(clamping: now / 1000 % 1_000_000)),
        ]
        return .object(object)
    }

    private static func name(_ event: MachineEvent) -> String {
        switch event {
        case .stop: "STOP"
        case .resume: "RESUME"
        case .powerdown: "POWERDOWN"
        case .reset: "RESET"
        case .shutdown: "SHUTDOWN"
        case .memoryDeviceSizeChange: "MEMORY_DEVICE_SIZE_CHANGE"
        case .deviceDeleted: "DEVICE_DELETED"
        case .streamConnected: "NETDEV_STREAM_CONNECTED"
        case .streamDisconnected: "NETDEV_STREAM_DISCONNECTED"
        case .balloonChanged: "BALLOON_CHANGED"
        }
    }

    private static func data(_ event: MachineEvent) -> JSONValue? {
        switch event {
        case .stop, .resume, .powerdown: nil
        case .reset(let guest): ["guest": .bool(guest), "reason": .string(guest ? "guest-reset" : "host-qmp-system-reset")]
        case .shutdown(let reason): ["guest": .bool(reason.isGuest), "reason": .string(text(reason))]
        case .balloonChanged(let actual): ["actual": .number(actual)]
        case .memoryDeviceSizeChange(let id, let size):
            ["id": .string(id), "size": .integer(Int64(clamping: size)), "qom-path": .string(DeviceInfo.path(id: id))]
        case .deviceDeleted(let id, let path): ["device": .string(id), "path": .string(path)]
        case .streamConnected(let id, let address): ["netdev-id": .string(id), "addr": data(address)]
        case .streamDisconnected(let id): ["netdev-id": .string(id)]
        }
    }

    private static func data(_ address: VmConfig.Netdev.Stream.Address) -> JSONValue {
        switch address {
        case .unix(let path): ["type": "unix", "path": .string(path)]
        case .inet(let host, let port): ["type": "inet", "host": .string(host), "port": .string(String(port))]
        case .descriptor(.number(let number)): ["type": "fd", "str": .string(String(number))]
        case .descriptor(.name(let name)): ["type": "fd", "str": .string(name)]
        }
    }

    private static func text(_ reason: ShutdownReason) -> String {
        switch reason {
        case .quitCommand: "host-qmp-quit"
        case .resetCommand: "host-qmp-system-reset"
        case .guestShutdown: "guest-shutdown"
        case .guestReset: "guest-reset"
        case .signal(let number): "Guest shutdown by signal \(number)"
        case .failure(let sentence): sentence
        }
    }

    static func path(_ cpu: UInt32) -> String { CPUInfo.path(id: cpu) }

    private static func place(_ place: CPUPlace) -> JSONValue {
        var object: JSONObject = [
            "socket-id": .integer(Int64(place.socket)), "die-id": .integer(Int64(place.die)),
            "core-id": .integer(Int64(place.core)), "thread-id": .integer(Int64(place.thread)),
        ]
        if let node = place.node { object["node-id"] = .integer(Int64(node)) }
        return .object(object)
    }
}
