internal import AddressSpace
internal import LinuxSys
internal import MachineManager
internal import Virtio

/// Devices whose queues another program serves.
extension MicroVM {
    func vhostUserBlock(_ device: VmConfig.VhostUserBlock) throws(MachineError) -> sending VhostUserBlock {
        // The parser has checked that the chardev is a unix socket.
        let options = VhostUserBlock.Options(
            chardev: device.chardev, path: chardevTable.takePath(device.chardev) ?? "", queues: device.queues,
            defaultQueues: Int(clamping: config.processors.count), queueSize: device.queueSize)
        do throws(VhostUserDeviceError) { return try VhostUserBlock.connect(options, memory: memory.memory) } catch { throw .vhostUser(error) }
    }

    /// The place of a network device's netdev when it is vhost-user: then the device is not in a slot.
    func vhostUserNetdev(of device: VmConfig.VirtioNet) -> Int? {
        netdevs.firstIndex { node in
            if case .vhostUser = node.netdev.backend { node.netdev.id == device.netdev } else { false }
        }
    }

    /// `number`: among all network devices.
    func vhostUserNet(_ device: VmConfig.VirtioNet, _ netdev: Int, _ number: Int) throws(MachineError) -> sending VhostUserNet {
        let node = netdevs[netdev].netdev
        guard case .vhostUser(let chardev) = node.backend else { throw .noBackend(device: device.id, backend: device.netdev) }
        let options = NetOptions(
            mac: device.mac ?? Self.defaultMAC(number), queuePairs: node.queues, queueSize: device.queueSize, offersMultiqueue: device.isMultiQueue)
        netdevs[netdev].device = device.id
        do throws(VhostUserDeviceError) {
            return try VhostUserNet.connect(netdev: node.id, path: chardevTable.takePath(chardev) ?? "", options: options, memory: memory.memory)
        } catch { throw .vhostUser(error) }
    }
}
