internal import AddressSpace
internal import LinuxSys
public import MachineManager
internal import Virtio

/// The memory of a memory device and its place in the guest.
struct MemoryPart {
    let id: String
    let memory: HostMemory
    let base: UInt64
    let backend: VmConfig.MemoryBackend
}

/// Tells of a device's size at once, and then at most once a second: a guest that plugs block by block, or for ever, must not flood management.
struct SizeReport {
    /// Nanoseconds between two reports, as in QEMU.
    static let interval: UInt64 = 1_000_000_000

    /// A report was made less than an interval ago.
    private var isWaiting = false
    private var latest: UInt64?

    /// The size to be told now, if any; then `intervalEnded` is to be called later.
    mutating func changed(to size: UInt64) -> UInt64? {
        if isWaiting {
            latest = size
            return nil
        }
        isWaiting = true
        return size
    }

    /// The same, an interval after a report.
    mutating func intervalEnded() -> UInt64? {
        guard let size = latest else {
            isWaiting = false
            return nil
        }
        latest = nil
        return size
    }
}

extension MicroVM {
    /// Before any device that maps guest memory by itself. Persistent memory is in the guest's address space from here on, plugged memory comes later.
    func realizeMemoryDevices() throws(MachineError) {
        let devices = config.devices.filter { $0.memdev != nil }
        guard !devices.isEmpty else { return }
        var made: [(device: VmConfig.Device, backend: VmConfig.MemoryBackend, memory: HostMemory)] = []
        for device in devices {
            // The parser has checked that it exists.
            guard let backend = config.memoryBackends.first(where: { $0.id == device.memdev }) else { continue }
            var first = backend
            // What is plugged is taken then.
            if case .virtioMem = device { first.isPreallocated = false }
            made.append((device, backend, try makeMemory(first)))
        }
        let requests = made.map { $0.device.placement(of: $0.memory) }
        let area = try platform.memoryDeviceArea()
        let places = try lift(MachineError.memoryPlacement) { () throws(MemoryPlacementError) in
            try MemoryDevicePlacement.place(requests, in: area)
        }
        for ((device, backend, part), base) in zip(made, places) {
            if case .virtioPmem = device { try show(part, at: base, of: device.id, readOnly: backend.isReadOnly) }
            memoryParts.append(MemoryPart(id: device.id, memory: part, base: base, backend: backend))
        }
    }

    private func show(_ part: HostMemory, at base: UInt64, of id: String, readOnly: Bool) throws(MachineError) {
        try lift({ MachineError.memory(size: part.size, $0) }) { () throws(AddressSpaceError) in
            try memory.root.add(try Region.ram(name: id, size: part.size, memory: part, readOnly: readOnly), at: base)
        }
    }

    /// `realizeMemoryDevices` has made it.
    private func part(_ id: String, _ memdev: String) throws(MachineError) -> MemoryPart {
        guard let part = memoryParts.first(where: { $0.id == id }) else { throw .noBackend(device: id, backend: memdev) }
        return part
    }

    func pluggableMemory(_ device: VmConfig.VirtioMem) throws(MachineError) -> sending VirtioMem {
        let part = try part(device.id, device.memdev)
        var options = VirtioMem.Options(id: device.id, base: part.base)
        options.blockSize = device.blockSize
        options.requestedSize = device.requestedSize
        options.node = device.node
        options.unpluggedAccess =
            switch device.unpluggedAccess {
            case .automatic: .discouraged
            case .inaccessible: .forbidden
            case .accessible: .allowed
            }
        let id = device.id
        let loop = loop
        let changed: @Sendable (UInt64) -> Void = { [weak self] size in loop.post { [weak self] in self?.memorySizeChanged(id, size) } }
        let window = MemoryWindow(part.memory, name: id, base: part.base, space: memory, isPreallocated: part.backend.isPreallocated)
        do throws(MemoryDeviceError) { return try VirtioMem(options, memory: window, sizeChanged: changed) } catch { throw .memoryDevice(error) }
    }

    func persistentMemory(_ device: VmConfig.VirtioPmem) throws(MachineError) -> sending VirtioPmem {
        let part = try part(device.id, device.memdev)
        // What nobody else will ever see need not be made durable.
        guard part.memory.isShared, !part.backend.isReadOnly else { return VirtioPmem(base: part.base, size: part.memory.size, target: nil) }
        do throws(Errno) {
            return VirtioPmem(base: part.base, size: part.memory.size, target: try FileFlush(part.memory))
        } catch { throw .device(.eventLoop(device: device.id, error)) }
    }

    // MARK: Control

    public func memoryDevices() -> [MemoryDeviceInfo] {
        memoryParts.map { part in
            let kind = memoryTransport(part.id)?.inspect(VirtioMem.self) { device in
                MemoryDeviceInfo.Kind.resizable(
                    requested: device.requestedSize, plugged: device.pluggedSize, blockSize: device.blockSize, node: device.node)
            }
            return MemoryDeviceInfo(id: part.id, kind: kind ?? .persistent, memdev: part.backend.id, address: part.base, size: part.memory.size)
        }
    }

    public func resizeMemoryDevice(_ id: String, to size: UInt64) throws(MachineControlError) {
        if state.state == .shutdown { throw .wrongState(VMTransitionError(from: .shutdown, to: .running)) }
        guard let transport = memoryTransport(id) else { throw .deviceNotFound(id) }
        let found: Void?
        do throws(MemoryDeviceError) {
            found = try transport.update(VirtioMem.self) { device throws(MemoryDeviceError) in try device.request(size) }
        } catch { throw .failed(error.description) }
        guard found != nil else { throw .deviceNotFound(id) }
        transport.configurationChanged()
    }

    private func memoryTransport(_ id: String) -> VirtioMMIODevice? { fixedDevices.first { $0.info.id == id }?.transport }

    private func memorySizeChanged(_ id: String, _ size: UInt64) {
        tell(id, sizeReports[id, default: SizeReport()].changed(to: size))
    }

    private func tell(_ id: String, _ size: UInt64?) {
        guard let size else { return }
        emit(.memoryDeviceSizeChange(id: id, size: size))
        loop.after(nanoseconds: SizeReport.interval) { [weak self] in
            guard let self else { return }
            tell(id, sizeReports[id]?.intervalEnded())
        }
    }
}

extension VmConfig.Device {
    /// Linux adds memory in blocks of 128 MiB, which it counts from address 0.
    private static let linuxBlock: UInt64 = 128 << 20

    fileprivate func placement(of memory: HostMemory) -> MemoryDevicePlacement.Request {
        let size = memory.size
        switch self {
        case .virtioMem(let device):
            let block = device.blockSize ?? VirtioMem.defaultBlockSize(of: size, pageSize: UInt64(memory.pageSize))
            return .init(id: id, size: size, alignment: block, generousAlignment: max(block, Self.linuxBlock), address: device.address)
        case .virtioPmem(let device):
            return .init(id: id, size: size, alignment: VirtioPmem.alignment, generousAlignment: Self.linuxBlock, address: device.address)
        default: return .init(id: id, size: size, alignment: 1, generousAlignment: 1, address: nil)
        }
    }
}
