internal import AddressSpace
internal import BlockBackend
public import MachineManager

/// What management clients can know. The event loop's thread.
extension MicroVM {
    public func iothreads() -> [IOThreadInfo] { ioThreads.map { IOThreadInfo(id: $0.id, threadID: $0.threadID, polling: $0.longestLook) } }

    public func chardevs() -> [ChardevInfo] { chardevTable.infos }

    /// Images that are open.
    public func blockNodes() -> [BlockNodeInfo] {
        drives.compactMap { node in
            node.image.map { image in
                BlockNodeInfo(
                    drive: node.drive, device: node.device, size: image.sectorCount &* 512, engine: .init(image.engine),
                    statistics: node.device.flatMap(blockStatistics) ?? .init())
            }
        }
    }

    public func devices() -> [DeviceInfo] {
        let disks = blockSlots.compactMap { $0.occupant.map { DeviceInfo(id: $0.device, driver: "virtio-blk-device", backend: $0.backend) } }
        let networks = networkSlots.compactMap { $0.occupant.map { DeviceInfo(id: $0.device, driver: "virtio-net-device", backend: $0.backend) } }
        let ports = config.devices.compactMap { device -> DeviceInfo? in if case .serialPort = device { device.info } else { nil } }
        return disks + networks + fixedDevices.map(\.info) + ports
    }

    public func memoryBackends() -> [VmConfig.MemoryBackend] { config.memoryBackends }

    public func memorySize() -> MemorySize {
        let plugged = memoryDevices().reduce(0 as UInt64) { sum, device in
            if case .resizable(_, let plugged, _, _) = device.kind { sum &+ plugged } else { sum }
        }
        return MemorySize(base: config.memory.size, plugged: plugged)
    }

    public func memoryMap() -> [MemoryMapEntry] {
        memory.flatRanges().map { MemoryMapEntry(base: $0.base, size: $0.size, name: $0.region.name, isMemory: $0.kind != .io) }
    }
}
