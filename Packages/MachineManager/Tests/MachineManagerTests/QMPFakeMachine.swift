import LinuxSys
import Synchronization

@testable import MachineManager

/// A machine that does nothing but keep its state, tell its events and note what it was asked.
final class FakeMachine: MachineControl {
    struct State: Sendable {
        var machine = VMStateMachine()
        var sink: (any MachineEventSink)?
        var quits = 0
        var cpuCount: UInt32 = 2
        var nodes: [VmConfig.Drive] = []
        var netdevs: [VmConfig.Netdev] = []
        var descriptors: [String: [Int32]] = [:]
        var requests: [HotplugRequest] = []
        var replaced: [VmConfig.Netdev] = []
        var links: [String: Bool] = [:]
        var threads: [IOThreadInfo] = []
        var balloon: BalloonInfo?
        var requestedMemory: UInt64 = 128 << 20
    }

    let state = Mutex(State())
    let architecture: GuestArchitecture

    init(_ architecture: GuestArchitecture = .x86_64) { self.architecture = architecture }
    func gicVersion() -> VmConfig.GICVersion? { architecture == .aarch64 ? .v2 : nil }

    deinit { for descriptor in state.withLock({ $0.descriptors.values.flatMap(\.self) }) { _ = OwnedFD(adopting: descriptor) } }

    func connect(_ sink: any MachineEventSink) { state.withLock { $0.sink = sink } }
    func setCPUs(_ count: UInt32) { state.withLock { $0.cpuCount = count } }
    var quits: Int { state.withLock(\.quits) }
    var requests: [HotplugRequest] { state.withLock(\.requests) }
    var nodes: [VmConfig.Drive] { state.withLock(\.nodes) }
    var netdevs: [VmConfig.Netdev] { state.withLock(\.netdevs) }
    func disconnect() { state.withLock { $0.sink = nil } }

    func status() -> VMState { state.withLock(\.machine.state) }
    func pause() throws(MachineControlError) { try change(to: .paused, .stop) }
    func resume() throws(MachineControlError) { try change(to: .running, .resume) }
    func requestPowerdown() throws(MachineControlError) { emit(.powerdown) }
    func requestReset() throws(MachineControlError) { throw .failed("no reset line") }

    func requestQuit() {
        state.withLock { $0.quits += 1 }
        emit(.shutdown(.quitCommand))
    }

    func cpus() -> [CPUInfo] {
        (0..<state.withLock(\.cpuCount)).map { CPUInfo(id: $0, threadID: 100 + Int32($0), place: CPUPlace(socket: $0, die: 0, core: 0, thread: 0)) }
    }

    func cpuSlots() -> [CPUSlot] {
        [
            CPUSlot(place: CPUPlace(socket: 0, die: 1, core: 2, thread: 3), cpu: 0),
            CPUSlot(place: CPUPlace(socket: 1, die: 0, core: 0, thread: 0), cpu: nil),
        ]
    }

    func addBlockNode(_ drive: VmConfig.Drive) throws(MachineControlError) {
        let isNew = state.withLock { state in
            guard !state.nodes.contains(where: { $0.id == drive.id }) else { return false }
            state.nodes.append(drive)
            return true
        }
        guard isNew else { throw .failed("node \(quoted(drive.id)) is there already") }
    }

    func removeBlockNode(_ id: String) throws(MachineControlError) {
        let wasThere = state.withLock { state in
            let count = state.nodes.count
            state.nodes.removeAll { $0.id == id }
            return state.nodes.count < count
        }
        guard wasThere else { throw .deviceNotFound(id) }
    }

    func setThrottle(_ id: String, _ throttle: VmConfig.Throttle) throws(MachineControlError) {
        let wasThere = state.withLock { state in
            guard let index = state.nodes.firstIndex(where: { $0.id == id }) else { return false }
            state.nodes[index].throttle = throttle
            return true
        }
        guard wasThere else { throw .deviceNotFound(id) }
    }

    func addNetdev(_ netdev: VmConfig.Netdev, descriptors: [Int32], vhostDescriptors: [Int32]) throws(MachineControlError) {
        state.withLock {
            $0.netdevs.append(netdev)
            $0.descriptors[netdev.id] = descriptors + vhostDescriptors
        }
    }

    func removeNetdev(_ id: String) throws(MachineControlError) {
        let wasThere = state.withLock { state in
            let count = state.netdevs.count
            state.netdevs.removeAll { $0.id == id }
            return state.netdevs.count < count
        }
        guard wasThere else { throw .deviceNotFound(id) }
        for descriptor in state.withLock({ $0.descriptors.removeValue(forKey: id) }) ?? [] { _ = OwnedFD(adopting: descriptor) }
    }

    func replaceNetdev(_ netdev: VmConfig.Netdev) throws(MachineControlError) {
        guard netdevs.contains(where: { $0.id == netdev.id }) else { throw .deviceNotFound(netdev.id) }
        guard netdev.id != "idle" else { throw .deviceNotActive(netdev.id) }
        state.withLock { $0.replaced.append(netdev) }
    }

    func addDevice(_ request: HotplugRequest) throws(MachineControlError) {
        if case .block(let device, _) = request, !nodes.contains(where: { $0.id == device.drive }) { throw .deviceNotFound(device.drive) }
        if case .net(let device, _) = request, device.netdev == "vhost" { throw .missingCapability("KVM has no irqfd, which vhost=on needs") }
        state.withLock { $0.requests.append(request) }
    }

    func removeDevice(_ id: String) throws(MachineControlError) {
        let wasThere = state.withLock { state in
            let count = state.requests.count
            state.requests.removeAll { Self.info($0).id == id }
            return state.requests.count < count
        }
        guard wasThere else { throw .deviceNotFound(id) }
        emit(.deviceDeleted(id: id, path: DeviceInfo.path(id: id)))
    }

    func setLink(_ id: String, up: Bool) throws(MachineControlError) {
        guard id != "idle" else { throw .deviceNotActive(id) }
        guard devices().contains(where: { $0.id == id || $0.backend == id }) else { throw .deviceNotFound(id) }
        state.withLock { $0.links[id] = up }
    }

    func balloon() -> BalloonInfo? { state.withLock(\.balloon) }

    /// The guest does at once what it is told.
    func setBalloon(_ bytes: UInt64) {
        let size: UInt64 = 1 << 30
        state.withLock { $0.balloon?.actual = min(bytes, size) }
        emit(.balloonChanged(actual: min(bytes, size)))
    }

    func setBalloonPolling(_ seconds: UInt32) { state.withLock { $0.balloon?.pollingInterval = seconds } }

    func resizeMemoryDevice(_ id: String, to size: UInt64) throws(MachineControlError) {
        guard id == "mem0" else { throw .deviceNotFound(id) }
        guard size <= 1 << 30 else { throw .failed("memory device 'mem0': too large") }
        state.withLock { $0.requestedMemory = size }
        emit(.memoryDeviceSizeChange(id: id, size: size))
    }
    func memoryDevices() -> [MemoryDeviceInfo] {
        let requested = state.withLock(\.requestedMemory)
        return [
            MemoryDeviceInfo(
                id: "mem0", kind: .resizable(requested: requested, plugged: 64 << 20, blockSize: 4 << 20, node: nil), memdev: "m0", address: 1 << 32, size: 1 << 30),
            MemoryDeviceInfo(id: "pmem0", kind: .persistent, memdev: "m1", address: 5 << 30, size: 2 << 20),
        ]
    }

    func iothreads() -> [IOThreadInfo] { state.withLock(\.threads) }
    func chardevs() -> [ChardevInfo] { [ChardevInfo(id: "serial_chardev", filename: "pty:/dev/pts/7", isOpen: true)] }

    func blockNodes() -> [BlockNodeInfo] {
        let (nodes, devices) = (nodes, devices())
        var statistics = BlockNodeStatistics()
        (statistics.reads.count, statistics.reads.bytes, statistics.writes.time, statistics.highestWrite) = (3, 1536, .max, 1 << 20)
        return nodes.map { node in
            BlockNodeInfo(drive: node, device: devices.first { $0.backend == node.id }?.id, size: 1 << 30, engine: .ioUring, statistics: statistics)
        }
    }

    func statisticsSources(_ target: StatisticsTarget) -> [StatisticsSource] {
        switch target {
        case .vm: [StatisticsSource(.kvm, .vm), StatisticsSource(.stratovirt, .vm)]
        case .vcpu: [.kvm, .stratovirt].flatMap { provider in cpus().map { StatisticsSource(provider, .vcpu, path: CPUInfo.path(id: $0.id)) } }
        case .device: devices().map { StatisticsSource(.stratovirt, .device, path: DeviceInfo.path(id: $0.id)) }
        }
    }

    /// Each source has another number, and every kind of statistic is there.
    func statistics(of source: StatisticsSource) -> [Statistic] {
        switch (source.target, source.provider) {
        case (.vm, .kvm): [Statistic("mmu_cache_miss", .scalar(.max), kind: .peak)]
        case (.vm, .stratovirt): [.nanoseconds("uptime", 5)]
        case (.vcpu, .kvm):
            [
                .count("exits", source.path == CPUInfo.path(id: 0) ? 10 : 11), Statistic("blocking", .boolean(true), kind: .instant, unit: .boolean),
                Statistic("halt_wait_hist", .list([1, 2, 3]), kind: .logHistogram, unit: .seconds, exponent: -9),
                Statistic("slices", .list([4]), kind: .linearHistogram(bucketSize: 8), unit: .bytes, base: 2, exponent: 10),
            ]
        case (.vcpu, .stratovirt): [.count("exits", 7), .count("pio-reads", 1)]
        case (.device, _):
            source.path == DeviceInfo.path(id: "disk1") ? [.count("requests", 3), .count("own", 1)] : [.count("requests", 4), .count("other", 2)]
        }
    }

    func memoryBackends() -> [VmConfig.MemoryBackend] {
        var backend = VmConfig.MemoryBackend(id: "mem0", kind: .memfd, size: 1 << 30, isShared: true)
        backend.policy = .bind
        backend.hostNodes = [0, 2]
        return [backend]
    }
    func memorySize() -> MemorySize { MemorySize(base: 2 << 30, plugged: 1 << 30) }
    func devices() -> [DeviceInfo] {
        requests.map(Self.info) + (balloon().map { [DeviceInfo(id: $0.id, driver: "virtio-balloon-device")] } ?? [])
    }
    func memoryMap() -> [MemoryMapEntry] { [MemoryMapEntry(base: 0, size: 128 << 20, name: "ram", isMemory: true)] }

    private static func info(_ request: HotplugRequest) -> DeviceInfo {
        switch request {
        case .block(let device, _): DeviceInfo(id: device.id, driver: "virtio-blk-device", backend: device.drive)
        case .net(let device, _): DeviceInfo(id: device.id, driver: "virtio-net-device", backend: device.netdev)
        }
    }

    private func change(to new: VMState, _ event: MachineEvent) throws(MachineControlError) {
        let result: Result<Bool, VMTransitionError> = state.withLock { state in
            do throws(VMTransitionError) { return .success(try state.machine.change(to: new)) } catch { return .failure(error) }
        }
        switch result {
        case .success(let changed): if changed { emit(event) }
        case .failure(let error): throw .wrongState(error)
        }
    }

    private func emit(_ event: MachineEvent) { state.withLock(\.sink)?.emit(event) }
}

/// Commands without a socket: one message in, one answer out.
final class Desk: QMPClient {
    let machine: FakeMachine
    let dispatcher: QMPDispatcher
    private let descriptors = Mutex<[Int32]>([])

    init(_ machine: FakeMachine = FakeMachine()) {
        self.machine = machine
        dispatcher = QMPDispatcher(control: machine, descriptors: QMPDescriptors())
    }

    /// Lets the next commands find a descriptor.
    func offer(_ descriptor: consuming OwnedFD) {
        let number = descriptor.take()
        descriptors.withLock { $0.append(number) }
    }

    func takeDescriptor() -> OwnedFD? {
        let number: Int32? = descriptors.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        return number.map { OwnedFD(adopting: $0) }
    }

    deinit { while takeDescriptor() != nil {} }

    func reply(_ request: String) -> QMPReply {
        var reader = JSONReader()
        for byte in request.utf8 { if let event = reader.push(byte) { return dispatcher.answer(event, to: self) { true } } }
        return QMPReply(result: .failure(QMPError("incomplete")), id: nil)
    }

    /// The error's class and text, or what was returned.
    func say(_ command: String, _ arguments: String = "") -> String {
        switch reply("{\"execute\":\"\(command)\"\(arguments.isEmpty ? "" : ",\"arguments\":\(arguments)")}").result {
        case .failure(let error): return "\(error.errorClass.rawValue): \(error.text)"
        case .success(let answer):
            var text: [UInt8] = []
            answer.value.write(to: &text)
            return String(decoding: text, as: UTF8.self)
        }
    }

    func returned(_ command: String, _ arguments: String = "{}") -> JSONValue? {
        try? reply("{\"execute\":\"\(command)\",\"arguments\":\(arguments)}").result.get().value
    }
}

extension QMPAnswer {
    /// The answer as one value.
    var value: JSONValue {
        switch self {
        case .value(let value): return value
        case .list(let count, let write):
            var text = Array("[".utf8)
            for index in 0..<count {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                write(index, &text)
            }
            text += "]".utf8
            var limits = JSONLimits()
            limits.length = 1 << 20
            limits.values = 1 << 16
            var reader = JSONReader(limits: limits)
            for byte in text { if case .value(let value)? = reader.push(byte) { return value } }
            return .null
        }
    }
}
