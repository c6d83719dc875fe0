internal import Hypervisor
public import LinuxSys
public import MachineManager
internal import Synchronization

/// `-machine none`: no guest, no memory, no devices. It answers QMP, by which libvirt learns what the program can do, until `quit` or a signal.
public final class NoMachine: RunnableMachine {
    private struct State: Sendable {
        var ending: ShutdownReason?
        weak var sink: (any MachineEventSink)?
    }

    private let loop: EventLoop
    private let state = Mutex(State())

    public init(loop: EventLoop) { self.loop = loop }

    public func reportEvents(to sink: any MachineEventSink) { state.withLock { $0.sink = sink } }
    public func start() throws(MachineError) {}
    public func shutDown() {}

    public var endReason: ShutdownReason? { state.withLock { $0.ending } }

    public func end(_ reason: ShutdownReason) {
        let sink: (any MachineEventSink)?? = state.withLock { state in
            guard state.ending == nil else { return nil }
            state.ending = reason
            return .some(state.sink)
        }
        guard let sink else { return }
        sink?.emit(.shutdown(reason))
        loop.stop()
    }
}

extension NoMachine: MachineControl {
    private static let nothing = MachineControlError.failed("machine type none has no guest")

    public var architecture: GuestArchitecture { .host }
    public func status() -> VMState { endReason == nil ? .created : .shutdown }
    public func requestQuit() { end(.quitCommand) }
    /// KVM is what a machine would run on; nothing has opened it yet.
    public func acceleration() -> Acceleration {
        let isUsable = (try? KVM.open()) != nil
        return Acceleration(isPresent: isUsable, isEnabled: isUsable)
    }

    public func pause() throws(MachineControlError) { throw Self.nothing }
    public func resume() throws(MachineControlError) { throw Self.nothing }
    public func requestPowerdown() throws(MachineControlError) { throw Self.nothing }
    public func requestReset() throws(MachineControlError) { throw Self.nothing }
    public func addBlockNode(_ drive: VmConfig.Drive) throws(MachineControlError) { throw Self.nothing }
    public func removeBlockNode(_ id: String) throws(MachineControlError) { throw Self.nothing }
    public func setThrottle(_ id: String, _ throttle: VmConfig.Throttle) throws(MachineControlError) { throw .deviceNotFound(id) }
    public func addNetdev(_ netdev: VmConfig.Netdev, descriptors: [Int32], vhostDescriptors: [Int32]) throws(MachineControlError) {
        for number in descriptors + vhostDescriptors { _ = OwnedFD(adopting: number).raw }
        throw Self.nothing
    }
    public func removeNetdev(_ id: String) throws(MachineControlError) { throw Self.nothing }
    public func replaceNetdev(_ netdev: VmConfig.Netdev) throws(MachineControlError) { throw Self.nothing }
    public func addDevice(_ request: HotplugRequest) throws(MachineControlError) { throw Self.nothing }
    public func removeDevice(_ id: String) throws(MachineControlError) { throw .deviceNotFound(id) }
    public func setLink(_ id: String, up: Bool) throws(MachineControlError) { throw .deviceNotFound(id) }
    public func balloon() -> BalloonInfo? { nil }
    public func setBalloon(_ bytes: UInt64) {}
    public func setBalloonPolling(_ seconds: UInt32) {}

    public func resizeMemoryDevice(_ id: String, to size: UInt64) throws(MachineControlError) { throw .deviceNotFound(id) }
    public func memoryDevices() -> [MemoryDeviceInfo] { [] }

    public func cpus() -> [CPUInfo] { [] }
    public func cpuSlots() -> [CPUSlot] { [] }
    public func iothreads() -> [IOThreadInfo] { [] }
    public func chardevs() -> [ChardevInfo] { [] }
    public func blockNodes() -> [BlockNodeInfo] { [] }
    public func devices() -> [DeviceInfo] { [] }
    public func memoryBackends() -> [VmConfig.MemoryBackend] { [] }
    public func memorySize() -> MemorySize { MemorySize(base: 0) }
    public func memoryMap() -> [MemoryMapEntry] { [] }
}
