extension QMPCommand {
    /// Filling and emptying the slots of a microVM.
    static var device: [QMPCommand] {
        [
            QMPCommand("device_add", deviceArguments, run: addDevice),
            QMPCommand("device_del", [.required("id", .id)]) { arguments, context throws(QMPError) in
                do throws(MachineControlError) { try context.control.removeDevice(arguments.requiredText("id")) } catch { throw QMPError(error) }
                return .done
            },
        ]
    }

    /// Those that only PCI and USB devices, CPUs and QEMU's own machines look at are accepted as well: clients send them for every machine.
    private static var deviceArguments: [QMPMember] {
        let texts = ["bus", "host", "sysfsdev", "romfile", "backend", "path", "cameradev"]
        let numbers = ["vectors", "port", "hostbus", "hostaddr", "hostport", "vendorid", "productid", "isobufs", "isobsize", "cpu-id"]
        var members: [QMPMember] = [
            .required("id", .id), .required("driver", .id), .optional("addr", .numeric(0...255)), .optional("lun", .numeric(0...254)),
            .optional("drive", .id), .optional("netdev", .id), .optional("chardev", .id), .optional("serial", .id), .optional("mac", .id),
            .optional("mq", .onOff), .optional("iothread", .id), .optional("num-queues", .numeric(0...Int64(UInt16.max))),
            .optional("queue-size", .numeric(0...Int64(UInt16.max))), .optional("boot_index", .numeric(0...255)), .optional("bootindex", .numeric(0...255)),
            .optional("share-rw", .onOff), .optional("disable-modern", .onOff), .optional("multifunction", .onOff),
        ]
        members += texts.map { .optional($0, .path) }
        members += numbers.map { .optional($0, .numeric(0...Int64(UInt32.max))) }
        return members
    }

    private static func addDevice(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        let request: HotplugRequest
        switch arguments.requiredText("driver") {
        case "virtio-blk-mmio", "virtio-blk-device":
            let parameters = ["id", "serial", "iothread", "num-queues", "queue-size"].compactMap { arguments.parameter($0) }
            let drive = arguments.parameter("drive") ?? QMPParameter("drive", arguments.requiredText("id"))
            let place = try slot(arguments, below: MachineSlots.block)
            do { request = .block(try VmConfig.VirtioBlock(command: "device_add", parameters + [drive]), slot: place) } catch { throw QMPError(error) }
        case "virtio-net-mmio", "virtio-net-device":
            let parameters = ["id", "mac", "mq", "queue-size", "iothread"].compactMap { arguments.parameter($0) }
            // StratoVirt reads `chardev` where its documents write `netdev`.
            let netdev =
                arguments.parameter("netdev") ?? arguments.parameter("netdev", from: "chardev") ?? QMPParameter("netdev", arguments.requiredText("id"))
            let place = try slot(arguments, below: MachineSlots.net)
            do { request = .net(try VmConfig.VirtioNet(command: "device_add", parameters + [netdev]), slot: place) } catch { throw QMPError(error) }
        case let driver:
            throw QMPError(
                "device_add: \(quoted(driver)) cannot be plugged into a microvm; virtio-blk-mmio, virtio-blk-device, virtio-net-mmio and virtio-net-device can")
        }
        do throws(MachineControlError) { try context.control.addDevice(request) } catch { throw QMPError(error) }
        return .done
    }

    /// The slot that `addr` or else `lun` names; nil: the first empty one.
    private static func slot(_ arguments: QMPArguments, below count: Int) throws(QMPError) -> Int? {
        if let slot = arguments.number("addr") {
            guard slot < count else { throw QMPError("device_add: argument 'addr' must be a slot from 0 to \(count - 1), not \(slot)") }
            return Int(slot)
        }
        // Counted from 1, as StratoVirt does.
        guard let unit = arguments.number("lun") else { return nil }
        guard unit < count - 1 else { throw QMPError("device_add: argument 'lun' must be from 0 to \(count - 2), not \(unit)") }
        return Int(unit) + 1
    }
}

/// How many devices of a kind a microVM has room for from its start, as in StratoVirt.
public enum MachineSlots {
    public static let block = 4
    public static let net = 2
}
