internal import AddressSpace
internal import BlockBackend
internal import Devices
internal import LinuxSys
internal import MachineManager
internal import Virtio

/// What the command line puts into the machine.
extension MicroVM {
    /// Slots for virtio-blk and virtio-net that exist from the start, as in StratoVirt: the guest finds four disks and two network devices whatever is in them.
    /// Only QMP fills them later: without it there are no empty ones, on which a guest would spend milliseconds.
    static let blockSlotCount = 4
    static let networkSlotCount = 2

    /// The slots come first, so that their addresses and interrupts are the same in every machine; then the other devices in command-line order.
    func realizeDevices() throws(MachineError) {
        for thread in config.iothreads {
            ioThreads.append(
                try lift({ MachineError.iothread(id: thread.id, $0) }) { () throws(Errno) in try IOThread(id: thread.id, longestLook: thread.polling) })
        }
        drives = config.drives.map { BlockNode(drive: $0) }
        netdevs = config.netdevs.map { NetworkNode(netdev: $0) }
        var disks: [VmConfig.VirtioBlock] = []
        var networks: [VmConfig.VirtioNet] = []
        var others: [VmConfig.Device] = []
        for device in config.devices {
            switch device {
            case .virtioBlock(let disk) where disks.count < Self.blockSlotCount: disks.append(disk)
            case .virtioNet(let network) where networks.count < Self.networkSlotCount && vhostUserNetdev(of: network) == nil: networks.append(network)
            default: others.append(device)
            }
        }
        let canPlug = !config.monitors.isEmpty
        for index in 0..<(canPlug ? Self.blockSlotCount : disks.count) {
            blockSlots.append(try realizeBlock(index < disks.count ? disks[index] : nil, name: "virtio-blk slot \(index)"))
        }
        for index in 0..<(canPlug ? Self.networkSlotCount : networks.count) {
            networkSlots.append(try realizeNetwork(index < networks.count ? networks[index] : nil, index, name: "virtio-net slot \(index)"))
        }
        for device in others { try Trace.scope(.deviceAttach, device.id) { () throws(MachineError) in try realize(device) } }
    }

    private func realize(_ device: VmConfig.Device) throws(MachineError) {
        switch device {
        case .virtioBlock(let disk):
            let slot = try realizeBlock(disk, name: disk.id)
            fixedDevices.append(FixedDevice(transport: slot.transport, info: device.info))
        case .virtioNet(let network):
            let index = networkSlots.count + fixedDevices.count { $0.info.driver == device.info.driver }
            if let netdev = vhostUserNetdev(of: network) { return try attach(try vhostUserNet(network, netdev, index), device) }
            let slot = try realizeNetwork(network, index, name: network.id)
            fixedDevices.append(FixedDevice(transport: slot.transport, info: device.info))
        case .virtioSerial(let serial): try attach(try console(serial), device)
        case .serialPort: break
        case .virtioRng(let rng): try attach(try entropy(rng), device)
        case .virtioBalloon(let balloon): try attach(try self.balloon(balloon), device)
        case .vhostVsock(let vsock): try attach(try socket(vsock), device)
        case .virtioVsock(let vsock): try attach(try socket(vsock), device, loop: loop(of: vsock.iothread))
        case .vhostUserFileSystem(let share): try attach(try fileSystem(share), device)
        case .virtioMem(let memory): try attach(try pluggableMemory(memory), device)
        case .virtioPmem(let memory): try attach(try persistentMemory(memory), device)
        case .vhostUserBlock(let disk): try attach(try vhostUserBlock(disk), device)
        }
    }

    private func attach(_ device: sending any VirtioDevice, _ configured: VmConfig.Device, loop: EventLoop? = nil) throws(MachineError) {
        let transport = try attach(device, name: configured.id, loop: loop ?? self.loop)
        fixedDevices.append(FixedDevice(transport: transport, info: configured.info))
    }

    private func attach(_ device: sending any VirtioDevice, name: String, loop: EventLoop) throws(MachineError) -> VirtioMMIODevice {
        do throws(VirtioMMIODevice.AttachError) {
            return try VirtioMMIODevice.attach(device, name: name, to: platform.bus, memory: memory.memory, loop: loop)
        } catch { throw .device(error) }
    }

    /// The loop of an iothread; the machine's own without one. The parser has checked that it exists.
    func loop(of iothread: String?) -> EventLoop {
        ioThreads.first { $0.id == iothread }?.loop ?? loop
    }

    // MARK: Disks

    private func realizeBlock(_ device: VmConfig.VirtioBlock?, name: String) throws(MachineError) -> DeviceSlot {
        let image: RawImage?
        if let device { image = try takeImage(of: device.drive, for: device.id) } else { image = nil }
        let block = VirtioBlock(storage: image, options: blockOptions(device))
        let transport = try attach(block, name: device?.id ?? name, loop: loop(of: device?.iothread))
        return DeviceSlot(transport: transport, occupant: device.map { .init(device: $0.id, backend: $0.drive) })
    }

    func blockOptions(_ device: VmConfig.VirtioBlock?) -> VirtioBlock.Options {
        let drive = drives.first { $0.drive.id == device?.drive }?.drive
        let discards = drive?.discards ?? false
        return VirtioBlock.Options(
            serial: device?.serial ?? "", queueSize: device?.queueSize ?? 256, queueCount: Int(device?.queueCount ?? 1),
            writesThrough: drive?.writesThrough ?? false, offersDiscard: discards, offersWriteZeroes: discards)
    }

    /// The node's image, opened if it is not, in the name of `device`.
    func takeImage(of drive: String, for device: String) throws(MachineError) -> RawImage {
        guard let index = drives.firstIndex(where: { $0.drive.id == drive }) else { throw .noBackend(device: device, backend: drive) }
        if let user = drives[index].device { throw .backendInUse(backend: drive, device: user) }
        let node = drives[index]
        let image = try lift(MachineError.drive) { () throws(BlockError) in
            if let open = node.image { open } else { try RawImage.open(RawImageOptions(node.drive)) }
        }
        drives[index].image = image
        drives[index].device = device
        return image
    }

    // MARK: Network

    private func realizeNetwork(_ device: VmConfig.VirtioNet?, _ index: Int, name: String) throws(MachineError) -> DeviceSlot {
        let backend: NetBackend?
        if let device { backend = try takeBackend(of: device.netdev, for: device.id) } else { backend = nil }
        let isMultiQueue = device?.isMultiQueue ?? false
        let pairs = isMultiQueue ? backend?.queueCount ?? 1 : 1
        let options = NetOptions(
            mac: device?.mac ?? Self.defaultMAC(index), queuePairs: pairs, queueSize: device?.queueSize ?? 256, offersMultiqueue: isMultiQueue)
        let loops = NetLoops(rx: loop(of: device?.rxIOThread ?? device?.iothread), tx: loop(of: device?.txIOThread ?? device?.iothread))
        let net = VirtioNet(options: options, backend: backend, loops: loops)
        let transport = try attach(net, name: device?.id ?? name, loop: loop(of: device?.iothread))
        return DeviceSlot(transport: transport, occupant: device.map { .init(device: $0.id, backend: $0.netdev) })
    }

    /// 52:54:00 is the prefix that QEMU and StratoVirt use; the rest counts.
    static func defaultMAC(_ index: Int) -> MACAddress { MACAddress(bits: 0x5254_0012_3456 + UInt64(clamping: index)) }

    /// The node's back end, opened if it is not, in the name of `device`.
    func takeBackend(of netdev: String, for device: String) throws(MachineError) -> NetBackend {
        guard let index = netdevs.firstIndex(where: { $0.netdev.id == netdev }) else { throw .noBackend(device: device, backend: netdev) }
        if let user = netdevs[index].device { throw .backendInUse(backend: netdev, device: user) }
        let backend: NetBackend
        if let open = netdevs[index].backend { backend = open } else { backend = try openBackend(netdevs[index].netdev) }
        netdevs[index].backend = backend
        netdevs[index].device = device
        return backend
    }

    /// With the descriptors that the program inherited.
    func openBackend(_ netdev: VmConfig.Netdev) throws(MachineError) -> NetBackend {
        // Both before either is let go: what cannot be used is closed.
        var descriptors = try inherited(netdev.descriptors, netdev)
        var vhostDescriptors = try inherited(netdev.vhostDescriptors, netdev)
        return try openBackend(netdev, descriptors: descriptors.takeNumbers(), vhostDescriptors: vhostDescriptors.takeNumbers())
    }

    private func inherited(_ wanted: [VmConfig.Descriptor], _ netdev: VmConfig.Netdev) throws(MachineError) -> DescriptorList {
        var found = DescriptorList()
        for case .number(let number) in wanted {
            do throws(InheritedDescriptorError) { found.append(try InheritedDescriptors.take(number)) } catch {
                throw .descriptor(option: "-netdev \(netdev.id)", error)
            }
        }
        return found
    }

    /// The numbers are the back end's from here on, also when it throws.
    func openBackend(_ netdev: VmConfig.Netdev, descriptors: [Int32], vhostDescriptors: [Int32]) throws(MachineError) -> NetBackend {
        switch netdev.backend {
        case .tap(let tap):
            let vhost: TapOptions.Vhost = !tap.vhost ? .off : vhostDescriptors.isEmpty ? .open : .descriptors(vhostDescriptors)
            let options = TapOptions(
                netdev: netdev.id, name: tap.interface, path: tap.path, descriptors: descriptors, queues: netdev.queues, vhost: vhost)
            return try lift(MachineError.network) { () throws(NetError) in try NetBackend.openTap(options) }
        case .stream(let stream): return try openStream(netdev.id, stream, descriptors)
        case .vhostUser: throw .notPluggable(netdev: netdev.id)
        }
    }

    // MARK: Others

    private func console(_ serial: VmConfig.VirtioSerial) throws(MachineError) -> sending VirtioConsole {
        var ports: [ConsolePort] = []
        for case .serialPort(let port) in config.devices {
            ports.append(
                ConsolePort(
                    number: Int(port.number), kind: port.kind == .console ? .console : .generic, name: port.name,
                    backend: try chardevTable.make(port.chardev)))
        }
        let device: VirtioConsole
        do throws(ConsoleError) { device = try VirtioConsole(ports: ports, maximumPorts: Int(serial.maximumPorts)) } catch { throw .console(error) }
        consoleHost = device.host
        return device
    }

    private func entropy(_ device: VmConfig.VirtioRng) throws(MachineError) -> sending VirtioRng {
        // The parser has checked that the source exists.
        let path = config.rngSources.first { $0.id == device.rng }?.filename ?? ""
        var rate: VirtioRng.Rate?
        if let bytes = device.maximumBytes, let period = device.period { rate = .init(maximumBytes: bytes, periodMilliseconds: period) }
        do throws(EntropyError) {
            return try VirtioRng(sourcePath: path, rate: rate)
        } catch { throw .entropy(error) }
    }

    private func socket(_ device: VmConfig.VhostVsock) throws(MachineError) -> sending VhostVsock {
        var descriptor: Int32?
        if let number = device.descriptor {
            do throws(InheritedDescriptorError) { descriptor = try InheritedDescriptors.take(number).take() } catch {
                throw .descriptor(option: "-device vhost-vsock-device", error)
            }
        }
        do throws(VsockError) { return try VhostVsock.open(guestCID: device.guestCID, descriptor: descriptor) } catch { throw .vsock(error) }
    }

    private func fileSystem(_ device: VmConfig.VhostUserFileSystem) throws(MachineError) -> sending VhostUserFileSystem {
        // The parser has checked that the chardev is a unix socket.
        let path = chardevTable.takePath(device.chardev) ?? ""
        do throws(FileSystemError) { return try VhostUserFileSystem.connect(path: path, tag: device.tag, memory: memory.memory) } catch { throw .share(error) }
    }
}

extension VmConfig.Device {
    /// How management clients see it.
    var info: DeviceInfo {
        switch self {
        case .virtioBlock(let device): DeviceInfo(id: device.id, driver: "virtio-blk-device", backend: device.drive)
        case .virtioNet(let device): DeviceInfo(id: device.id, driver: "virtio-net-device", backend: device.netdev)
        case .virtioSerial(let device): DeviceInfo(id: device.id, driver: "virtio-serial-device")
        case .serialPort(let device):
            DeviceInfo(id: device.id, driver: device.kind == .console ? "virtconsole" : "virtserialport", backend: device.chardev)
        case .virtioRng(let device): DeviceInfo(id: device.id, driver: "virtio-rng-device", backend: device.rng)
        case .virtioBalloon(let device): DeviceInfo(id: device.id, driver: "virtio-balloon-device")
        case .vhostVsock(let device): DeviceInfo(id: device.id, driver: "vhost-vsock-device")
        case .virtioVsock(let device): DeviceInfo(id: device.id, driver: "virtio-vsock-device")
        case .vhostUserFileSystem(let device): DeviceInfo(id: device.id, driver: "vhost-user-fs-device", backend: device.chardev)
        case .virtioMem(let device): DeviceInfo(id: device.id, driver: "virtio-mem-device", backend: device.memdev)
        case .virtioPmem(let device): DeviceInfo(id: device.id, driver: "virtio-pmem-device", backend: device.memdev)
        case .vhostUserBlock(let device): DeviceInfo(id: device.id, driver: "vhost-user-blk-device", backend: device.chardev)
        }
    }
}
