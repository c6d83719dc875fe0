/// Makes the devices, once everything is known that they may name.
extension VmConfigBuilder {
    mutating func makeDevices() throws(CommandLineError) {
        var names = DeviceNames()
        for list in vhostUserNetdevs { netdevChardevs.append(try takeBackEnd(list)) }
        for list in devices { try names.take(given: list) }
        let maximumPorts = try virtioSerialPorts()
        for list in devices {
            switch list.variant {
            case "virtio-blk-device": try addBlock(list, &names)
            case "virtio-net-device": try addNet(list, &names)
            case "virtio-serial-device":
                var device = VmConfig.VirtioSerial(id: names.name(for: list, from: list.variant))
                device.maximumPorts = maximumPorts ?? device.maximumPorts
                config.devices.append(.virtioSerial(device))
            case "virtconsole", "virtserialport": try addPort(list, maximumPorts, &names)
            case "virtio-rng-device": try addRng(list, &names)
            case "virtio-balloon-device": try addBalloon(list, &names)
            case "vhost-vsock-device": try addVsock(list, &names)
            case "virtio-vsock-device": try addSocketVsock(list, &names)
            case "vhost-user-fs-device": try addFileSystem(list, &names)
            case "virtio-mem-device": try addMemory(list, names.name(for: list, from: list.text("memdev") ?? ""))
            case "virtio-pmem-device": try addPersistentMemory(list, names.name(for: list, from: list.text("memdev") ?? ""))
            case "vhost-user-blk-device": try addVhostUserBlock(list, &names)
            default: throw list.notSupportedYet("")
            }
        }
        try numberPorts(maximumPorts)
        try checkDescriptors()
    }

    private mutating func addBlock(_ list: ParameterList, _ names: inout DeviceNames) throws(CommandLineError) {
        var device = VmConfig.VirtioBlock(list)
        guard config.drives.contains(where: { $0.id == device.drive }) else {
            throw list.invalid("there is no -drive with id \(quoted(device.drive))")
        }
        for case .virtioBlock(let other) in config.devices where other.drive == device.drive {
            throw list.invalid("drive \(quoted(device.drive)) is used by two devices")
        }
        try checkIOThread("iothread", of: list)
        device.id = names.name(for: list, from: device.drive)
        config.devices.append(.virtioBlock(device))
    }

    private mutating func addNet(_ list: ParameterList, _ names: inout DeviceNames) throws(CommandLineError) {
        var device = VmConfig.VirtioNet(list)
        guard config.netdevs.contains(where: { $0.id == device.netdev }) else {
            throw list.invalid("there is no -netdev with id \(quoted(device.netdev))")
        }
        for case .virtioNet(let other) in config.devices {
            if other.netdev == device.netdev { throw list.invalid("netdev \(quoted(device.netdev)) is used by two devices") }
            if let mac = device.mac, mac == other.mac { throw list.invalid("mac \(mac) is used by two devices") }
        }
        for key in ["iothread", "rx-iothread", "tx-iothread"] { try checkIOThread(key, of: list) }
        device.id = names.name(for: list, from: device.netdev)
        config.devices.append(.virtioNet(device))
    }

    private mutating func addRng(_ list: ParameterList, _ names: inout DeviceNames) throws(CommandLineError) {
        let source = list.text("rng") ?? ""
        guard config.rngSources.contains(where: { $0.id == source }) else {
            throw list.invalid("there is no -object rng-random with id \(quoted(source))")
        }
        var device = VmConfig.VirtioRng(id: names.name(for: list, from: source), rng: source)
        switch (list.number("max-bytes"), list.number("period")) {
        case (nil, nil): break
        case (let bytes?, let period?):
            // Bytes a second without overflow: the quotient of a 128-bit product, which fits 64 bits when its high half is below the divisor.
            let product = bytes.multipliedFullWidth(by: 1000)
            guard product.high < period, VmConfig.entropyRates.contains(period.dividingFullWidth(product).quotient) else {
                let limits = VmConfig.entropyRates
                throw list.invalid(
                    "max-bytes= in each period= must be from \(limits.lowerBound) to \(limits.upperBound) bytes a second")
            }
            device.maximumBytes = bytes
            device.period = period
        default: throw list.invalid("max-bytes= and period= go together")
        }
        config.devices.append(.virtioRng(device))
    }

    private mutating func addBalloon(_ list: ParameterList, _ names: inout DeviceNames) throws(CommandLineError) {
        for case .virtioBalloon in config.devices { throw list.invalid("there can be only one") }
        config.devices.append(.virtioBalloon(VmConfig.VirtioBalloon(list, id: names.name(for: list, from: list.variant))))
    }

    private mutating func addVsock(_ list: ParameterList, _ names: inout DeviceNames) throws(CommandLineError) {
        try checkOnlyVsock(list)
        var device = VmConfig.VhostVsock(id: names.name(for: list, from: list.variant), guestCID: list.number("guest-cid") ?? 0)
        if let text = list.text("vhostfd"), case .number(let number) = try list.descriptor("vhostfd", text[...]) { device.descriptor = number }
        config.devices.append(.vhostVsock(device))
    }

    private mutating func addSocketVsock(_ list: ParameterList, _ names: inout DeviceNames) throws(CommandLineError) {
        try checkOnlyVsock(list)
        try checkIOThread("iothread", of: list)
        let device = VmConfig.VirtioVsock(
            id: names.name(for: list, from: list.variant), guestCID: list.number("guest-cid") ?? 0, path: list.text("path") ?? "", iothread: list.text("iothread"))
        config.devices.append(.virtioVsock(device))
    }

    /// A guest has one address.
    private func checkOnlyVsock(_ list: ParameterList) throws(CommandLineError) {
        for device in config.devices {
            switch device {
            case .vhostVsock, .virtioVsock: throw list.invalid("there can be only one")
            default: break
            }
        }
    }

    private mutating func addFileSystem(_ list: ParameterList, _ names: inout DeviceNames) throws(CommandLineError) {
        let chardev = try takeBackEnd(list)
        let device = VmConfig.VhostUserFileSystem(id: names.name(for: list, from: chardev), chardev: chardev, tag: list.text("tag") ?? "")
        for case .vhostUserFileSystem(let other) in config.devices where other.tag == device.tag {
            throw list.invalid("tag \(quoted(device.tag)) is used twice")
        }
        config.devices.append(.vhostUserFileSystem(device))
    }

    private mutating func addVhostUserBlock(_ list: ParameterList, _ names: inout DeviceNames) throws(CommandLineError) {
        let chardev = try takeBackEnd(list)
        var device = VmConfig.VhostUserBlock(id: names.name(for: list, from: chardev), chardev: chardev)
        device.queues = list.number("num-queues").map { Int(clamping: $0) }
        device.queueSize = list.number("queue-size").map { UInt16(clamping: $0) } ?? device.queueSize
        config.devices.append(.vhostUserBlock(device))
    }

    /// The id of the chardev behind which a program serves the device over vhost-user.
    private mutating func takeBackEnd(_ list: ParameterList) throws(CommandLineError) -> String {
        try requireSharedMemory(list)
        let index = try takeChardev(list)
        let chardev = config.chardevs[index].id
        guard case .socket(var socket) = config.chardevs[index].backend, case .unix = socket.address else {
            throw list.invalid("chardev \(quoted(chardev)) must be a socket with path=")
        }
        // The program listens; Kata Containers writes server,nowait all the same.
        socket.isServer = false
        config.chardevs[index].backend = .socket(socket)
        return chardev
    }

    /// Where the chardev is that the device names and no other has; those that `-mon` and `-serial` took are in the list no more.
    private func takeChardev(_ list: ParameterList) throws(CommandLineError) -> Int {
        let id = list.text("chardev") ?? ""
        guard let index = config.chardevs.firstIndex(where: { $0.id == id }) else {
            if monitor?.text("chardev") == id { throw list.invalid("chardev \(quoted(id)) is used by -mon") }
            if config.serial?.id == id { throw list.invalid("chardev \(quoted(id)) is used by -serial") }
            throw list.invalid("there is no -chardev with id \(quoted(id))")
        }
        guard !netdevChardevs.contains(id), !config.devices.contains(where: { $0.chardev == id }) else {
            throw list.invalid("chardev \(quoted(id)) is used by two devices")
        }
        return index
    }
}

/// Consoles and ports.
extension VmConfigBuilder {
    /// How many ports the virtio-serial device has; nil without one.
    private func virtioSerialPorts() throws(CommandLineError) -> UInt32? {
        var found: UInt32?
        for list in devices where list.variant == "virtio-serial-device" {
            guard found == nil else { throw list.invalid("there can be only one") }
            found = UInt32(clamping: list.number("max_ports") ?? VmConfig.maximumSerialPorts)
        }
        return found
    }

    private mutating func addPort(_ list: ParameterList, _ maximum: UInt32?, _ names: inout DeviceNames) throws(CommandLineError) {
        guard let maximum else { throw list.invalid("needs a -device virtio-serial-device") }
        let index = try takeChardev(list)
        let chardev = config.chardevs[index].id
        var port = VmConfig.SerialPort(
            id: names.name(for: list, from: chardev), kind: list.variant == "virtconsole" ? .console : .generic, chardev: chardev,
            number: Self.unnumbered)
        port.name = list.text("name")
        // StratoVirt's documents have a virtserialport with nr=0, and say in another place that 0 is for consoles.
        if let number = list.number("nr"), number > 0 || port.kind == .console {
            port.number = UInt32(clamping: number)
            guard port.number < maximum else { throw list.invalid("nr= (\(number)) must be below max_ports= (\(maximum))") }
            for case .serialPort(let other) in config.devices where other.number == port.number {
                throw list.invalid("nr= (\(number)) is used twice")
            }
        }
        config.devices.append(.serialPort(port))
    }

    /// Stands for a number that is still to be chosen, when all that are given are known.
    private static let unnumbered = UInt32.max

    /// Ports without a number get the lowest that are free: consoles from 0 on, others from 1 on, since port 0 is for a console (virtio 1.2, section 5.3).
    private mutating func numberPorts(_ maximum: UInt32?) throws(CommandLineError) {
        var taken: UInt64 = 0
        for case .serialPort(let port) in config.devices where port.number != Self.unnumbered { taken |= 1 << UInt64(port.number) }
        for index in config.devices.indices {
            guard case .serialPort(var port) = config.devices[index], port.number == Self.unnumbered else { continue }
            let first: UInt32 = port.kind == .console ? 0 : 1
            guard let number = (first..<max(maximum ?? 0, first)).first(where: { taken & 1 << UInt64($0) == 0 }) else {
                throw .conflict("-device: virtio-serial-device has no port left for \(quoted(port.id))")
            }
            taken |= 1 << UInt64(number)
            port.number = number
            config.devices[index] = .serialPort(port)
        }
    }
}

extension VmConfigBuilder {
    /// No descriptor has two owners.
    private func checkDescriptors() throws(CommandLineError) {
        var seen: [Int32] = []
        func take(_ number: Int32, _ option: String) throws(CommandLineError) {
            guard !seen.contains(number) else { throw .conflict("\(option): descriptor \(number) is given twice") }
            seen.append(number)
        }
        for netdev in config.netdevs {
            for case .number(let number) in netdev.descriptors { try take(number, "-netdev \(netdev.id)") }
        }
        for case .vhostVsock(let device) in config.devices {
            if let number = device.descriptor { try take(number, "-device vhost-vsock-device") }
        }
    }
}

extension VmConfig.Netdev {
    fileprivate var descriptors: [VmConfig.Descriptor] {
        switch backend {
        case .tap(let tap): tap.descriptors + tap.vhostDescriptors
        case .stream(let stream): if case .descriptor(let descriptor) = stream.address { [descriptor] } else { [] }
        case .vhostUser: []
        }
    }
}

extension VmConfig.Device {
    /// The id of the chardev that the device uses.
    fileprivate var chardev: String? {
        switch self {
        case .serialPort(let port): port.chardev
        case .vhostUserFileSystem(let device): device.chardev
        case .vhostUserBlock(let device): device.chardev
        case .virtioBlock, .virtioNet, .virtioSerial, .virtioRng, .virtioBalloon, .vhostVsock, .virtioVsock, .virtioMem, .virtioPmem: nil
        }
    }
}

/// The ids of devices. Those that the user gave come first; others are made from what the device uses.
private struct DeviceNames {
    private var taken: [String] = []

    mutating func take(given list: ParameterList) throws(CommandLineError) {
        guard let id = list.text("id") else { return }
        try list.checkNew(id, among: taken)
        taken.append(id)
    }

    /// The id that was given, else `base`, else `base` with the lowest number from 2 on that makes it new.
    mutating func name(for list: ParameterList, from base: String) -> String {
        if let id = list.text("id") { return id }
        var id = base
        var number = 2
        while taken.contains(id) {
            id = "\(base)-\(number)"
            number += 1
        }
        taken.append(id)
        return id
    }
}
