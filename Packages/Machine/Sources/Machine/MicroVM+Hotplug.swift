internal import BlockBackend
internal import LinuxSys
public import MachineManager
internal import Virtio

/// Slots that are filled and emptied while the guest runs, and the back ends for them. The event loop's thread.
extension MicroVM {
    // MARK: Back ends

    public func addBlockNode(_ drive: VmConfig.Drive) throws(MachineControlError) {
        try checkAlive()
        guard !drives.contains(where: { $0.drive.id == drive.id }) else { throw .failed("the drive id '\(drive.id)' is used already") }
        do throws(BlockError) {
            drives.append(BlockNode(drive: drive, image: try RawImage.open(RawImageOptions(drive))))
        } catch { throw .failed(error.description) }
        Trace.emit(.blockdevAdd, drive.id)
    }

    public func removeBlockNode(_ id: String) throws(MachineControlError) {
        guard let index = drives.firstIndex(where: { $0.drive.id == id }) else { throw .deviceNotFound(id) }
        if let device = drives[index].device { throw .failed("the drive '\(id)' is used by device '\(device)'") }
        drives.remove(at: index)
        Trace.emit(.blockdevRemove, id)
    }

    public func setThrottle(_ id: String, _ throttle: VmConfig.Throttle) throws(MachineControlError) {
        try checkAlive()
        guard let index = drives.firstIndex(where: { $0.drive.id == id }) ?? drives.firstIndex(where: { $0.device == id }) else { throw .deviceNotFound(id) }
        let limits = ThrottleLimits(throttle)
        do throws(Errno) {
            if let device = drives[index].device, let transport = blockTransport(device) {
                // The image is the device's, and used under its lock.
                try transport.update(VirtioBlock.self) { disk throws(Errno) in try disk.setThrottle(limits) }
            } else {
                try drives[index].image?.setThrottle(limits)
            }
        } catch { throw .failed("cannot limit the drive '\(drives[index].drive.id)': \(error)") }
        drives[index].drive.throttle = throttle
    }

    private func blockTransport(_ device: String) -> VirtioMMIODevice? {
        blockSlots.first { $0.occupant?.device == device }?.transport
            ?? fixedDevices.first { $0.info.id == device && $0.info.driver == "virtio-blk-device" }?.transport
    }

    public func addNetdev(_ netdev: VmConfig.Netdev, descriptors: [Int32], vhostDescriptors: [Int32]) throws(MachineControlError) {
        do throws(MachineControlError) {
            try checkAlive()
            guard !netdevs.contains(where: { $0.netdev.id == netdev.id }) else { throw .failed("the netdev id '\(netdev.id)' is used already") }
        } catch {
            for number in descriptors + vhostDescriptors { _ = OwnedFD(adopting: number) }
            throw error
        }
        let backend = try control { () throws(MachineError) in
            try openBackend(netdev, descriptors: descriptors, vhostDescriptors: vhostDescriptors)
        }
        netdevs.append(NetworkNode(netdev: netdev, backend: backend))
        Trace.emit(.netdevAdd, netdev.id)
    }

    public func removeNetdev(_ id: String) throws(MachineControlError) {
        guard let index = netdevs.firstIndex(where: { $0.netdev.id == id }) else { throw .deviceNotFound(id) }
        if let device = netdevs[index].device { throw .failed("the netdev '\(id)' is used by device '\(device)'") }
        netdevs.remove(at: index)
        Trace.emit(.netdevRemove, id)
    }

    public func replaceNetdev(_ netdev: VmConfig.Netdev) throws(MachineControlError) {
        try checkAlive()
        guard let index = netdevs.firstIndex(where: { $0.netdev.id == netdev.id }) else { throw .deviceNotFound(netdev.id) }
        guard let device = netdevs[index].device, let transport = networkTransport(device) else { throw .deviceNotActive(netdev.id) }
        if isVhostUser(netdevs[index]) { throw .failed("the netdev '\(netdev.id)' is of type vhost-user and cannot be replaced") }
        let backend = try control { () throws(MachineError) in try openBackend(netdev) }
        change(transport, VirtioNet.self) { $0.replaceBackend(backend) }
        netdevs[index].netdev = netdev
        netdevs[index].backend = backend
    }

    // MARK: Devices

    public func addDevice(_ request: HotplugRequest) throws(MachineControlError) {
        try checkAlive()
        let id =
            switch request {
            case .block(let device, _): device.id
            case .net(let device, _): device.id
            }
        guard !devices().contains(where: { $0.id == id }) else { throw .failed("the device id '\(id)' is used already") }
        switch request {
        case .block(let device, let slot): try plug(device, into: slot)
        case .net(let device, let slot): try plug(device, into: slot)
        }
        Trace.emit(.deviceAdd, id)
    }

    private func plug(_ device: VmConfig.VirtioBlock, into slot: Int?) throws(MachineControlError) {
        let index = try emptySlot(blockSlots, slot, kind: "block")
        // A slot is served where it was put when the machine was built.
        guard device.iothread == nil else { throw .failed("iothread= is possible only for a device of the command line") }
        let image = try control { () throws(MachineError) in try takeImage(of: device.drive, for: device.id) }
        let options = blockOptions(device)
        change(blockSlots[index].transport, VirtioBlock.self) { $0.replaceStorage(image, options: options) }
        blockSlots[index].occupant = .init(device: device.id, backend: device.drive)
    }

    private func plug(_ device: VmConfig.VirtioNet, into slot: Int?) throws(MachineControlError) {
        let index = try emptySlot(networkSlots, slot, kind: "network")
        guard device.iothread == nil, device.rxIOThread == nil, device.txIOThread == nil else {
            throw .failed("iothreads are possible only for a device of the command line")
        }
        let backend = try control { () throws(MachineError) in try takeBackend(of: device.netdev, for: device.id) }
        change(networkSlots[index].transport, VirtioNet.self) { $0.replaceBackend(backend, mac: device.mac ?? Self.defaultMAC(index)) }
        networkSlots[index].occupant = .init(device: device.id, backend: device.netdev)
    }

    private func emptySlot(_ slots: [DeviceSlot], _ wanted: Int?, kind: String) throws(MachineControlError) -> Int {
        guard let wanted else {
            guard let first = slots.firstIndex(where: { $0.occupant == nil }) else { throw .failed("all \(slots.count) \(kind) slots are in use") }
            return first
        }
        guard slots.indices.contains(wanted) else { throw .failed("there is no \(kind) slot \(wanted): they count from 0 to \(slots.count - 1)") }
        if let occupant = slots[wanted].occupant { throw .failed("\(kind) slot \(wanted) is in use by device '\(occupant.device)'") }
        return wanted
    }

    public func removeDevice(_ id: String) throws(MachineControlError) {
        try checkAlive()
        if let index = blockSlots.firstIndex(where: { $0.occupant?.device == id }) {
            change(blockSlots[index].transport, VirtioBlock.self) { $0.replaceStorage(nil) }
            blockSlots[index].occupant = nil
            // Closing gives the file and its lock back; the node keeps what blockdev-add said.
            for node in drives.indices where drives[node].device == id {
                drives[node].device = nil
                drives[node].image = nil
            }
        } else if let index = networkSlots.firstIndex(where: { $0.occupant?.device == id }) {
            change(networkSlots[index].transport, VirtioNet.self) { $0.replaceBackend(nil, mac: Self.defaultMAC(index)) }
            networkSlots[index].occupant = nil
            for node in netdevs.indices where netdevs[node].device == id { netdevs[node].device = nil }
        } else if devices().contains(where: { $0.id == id }) {
            throw .failed("device '\(id)' is not in a slot and stays as long as the machine")
        } else {
            throw .deviceNotFound(id)
        }
        Trace.emit(.deviceRemove, id)
        emit(.deviceDeleted(id: id, path: DeviceInfo.path(id: id)))
    }

    public func setLink(_ id: String, up: Bool) throws(MachineControlError) {
        try checkAlive()
        let device = netdevs.first { $0.netdev.id == id }?.device ?? id
        guard let transport = networkTransport(device) else {
            if netdevs.contains(where: { $0.netdev.id == id }) { throw .deviceNotActive(id) }
            throw .deviceNotFound(id)
        }
        if isVhostUser(netdevs.first { $0.device == device }) {
            change(transport, VhostUserNet.self) { $0.setLink(up: up) }
        } else {
            change(transport, VirtioNet.self) { $0.setLink(up: up) }
        }
    }

    func networkTransport(_ device: String) -> VirtioMMIODevice? {
        networkSlots.first { $0.occupant?.device == device }?.transport
            ?? fixedDevices.first { $0.info.id == device && $0.info.driver == "virtio-net-device" }?.transport
    }

    // MARK: Parts

    private func isVhostUser(_ node: NetworkNode?) -> Bool {
        if case .vhostUser? = node?.netdev.backend { true } else { false }
    }

    /// Changes a device and tells the guest.
    func change<Device: VirtioDevice>(_ transport: VirtioMMIODevice, _ type: Device.Type, _ body: (Device) -> sending Void) {
        transport.update(type, body)
        transport.configurationChanged()
    }

    private func checkAlive() throws(MachineControlError) {
        if state.state == .shutdown { throw .wrongState(VMTransitionError(from: .shutdown, to: .running)) }
    }

    private func control<Value>(_ body: () throws(MachineError) -> Value) throws(MachineControlError) -> Value {
        do throws(MachineError) { return try body() } catch { throw .failed(error.description) }
    }
}
