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
}
