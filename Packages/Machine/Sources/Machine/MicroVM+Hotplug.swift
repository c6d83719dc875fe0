public import MachineManager

/// Slots that are filled and emptied while the guest runs, and what management clients ask of them. The event loop's thread.
extension MicroVM {
    public func addBlockNode(_ drive: VmConfig.Drive) throws(MachineControlError) { throw .failed("not there yet") }
    public func removeBlockNode(_ id: String) throws(MachineControlError) { throw .failed("not there yet") }
    public func addNetdev(_ netdev: VmConfig.Netdev, descriptors: [Int32], vhostDescriptors: [Int32]) throws(MachineControlError) {
        throw .failed("not there yet")
    }
    public func removeNetdev(_ id: String) throws(MachineControlError) { throw .failed("not there yet") }
    public func replaceNetdev(_ netdev: VmConfig.Netdev) throws(MachineControlError) { throw .failed("not there yet") }
    public func addDevice(_ request: HotplugRequest) throws(MachineControlError) { throw .failed("not there yet") }
    public func removeDevice(_ id: String) throws(MachineControlError) { throw .failed("not there yet") }
    public func setLink(_ id: String, up: Bool) throws(MachineControlError) { throw .failed("not there yet") }
    public func iothreads() -> [IOThreadInfo] { [] }
    public func chardevs() -> [ChardevInfo] { [] }
    public func blockNodes() -> [BlockNodeInfo] { [] }
    public func devices() -> [DeviceInfo] { [] }
    public func memoryMap() -> [MemoryMapEntry] { [] }
}
