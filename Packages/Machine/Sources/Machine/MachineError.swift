public import AddressSpace
public import BlockBackend
public import Boot
public import BootX86
public import CPU
public import Devices
public import FDT
public import Hypervisor
public import LinuxSys
public import MachineManager
public import Virtio

/// Why a machine could not be built or started. `description` is one sentence for the user, naming the option or file at fault.
public enum MachineError: Error, CustomStringConvertible, Sendable {
    case hypervisor(HypervisorError)
    case memory(size: UInt64, AddressSpaceError)
    /// The machine's memory, in the file or folder at `path` if there is one.
    case mainMemory(size: UInt64, path: String?, MemoryBackendError)
    case memoryBackend(option: String, MemoryBackendError)
    case topology(CPUTopologyError)
    case vcpu(CPUError)
    case drive(BlockError)
    case device(VirtioMMIODevice.AttachError)
    /// Names the chardev itself, unless it is the one that `-serial` made.
    case chardev(CharBackendError)
    case network(NetError)
    case console(ConsoleError)
    case entropy(EntropyError)
    case balloon(Errno)
    case vsock(VsockError)
    case socketVsock(VirtioVsockError)
    case share(FileSystemError)
    case memoryDevice(MemoryDeviceError)
    case memoryPlacement(MemoryPlacementError)
    case vhostUser(VhostUserDeviceError)
    case iothread(id: String, Errno)
    case descriptor(option: String, InheritedDescriptorError)
    /// There is no drive, netdev or chardev with that id.
    case noBackend(device: String, backend: String)
    case backendInUse(backend: String, device: String)
    /// A device with it has no slot.
    case notPluggable(netdev: String)
    case place(device: StaticString, AddressSpaceError)
    case layout(X86BootPlanError)
    case boot(BootError)
    case acpi(ACPIError)
    case tables(GuestMemoryError)
    case memoryMap(MemoryMapError)
    case deviceTree(FDTError)
    case writeDeviceTree(GuestMemoryError)
    case dumpDeviceTree(path: String, Errno)
    case random(Errno)
    /// A parameter of `-cpu` that was switched on.
    case missingCPUFeature(String)
    case noGICv3
    /// The option means something for machines of another architecture only.
    case otherArchitecture(option: String, GuestArchitecture)
    /// `realize` or `start` came twice, or in the wrong order.
    case wrongState

    public var description: String {
        switch self {
        case .hypervisor(let error): error.description
        case .memory(let size, let error): "-m: cannot set up \(size >> 20) MiB of guest memory: \(error)"
        case .mainMemory(let size, _, .map(let error)): "-m: cannot set up \(size >> 20) MiB of guest memory: \(error)"
        case .mainMemory(_, _, .populate(let size, let error)): "-mem-prealloc: \(MemoryBackendError.populate(size: size, error))"
        case .mainMemory(_, let path, let error): "\(path == nil ? "-m" : "-mem-path"): \(error)"
        case .memoryBackend(let option, let error): "\(option): \(error)"
        case .topology(let error): "-smp: \(error)"
        case .vcpu(let error): error.description
        case .drive(let error): "-drive: \(error)"
        case .device(let error): "-device: \(error)"
        case .chardev(.chardev(let id, let error)): "-chardev \(id): \(error)"
        case .chardev(let error): "-serial: \(error)"
        case .network(let error): error.description
        case .console(let error): error.description
        case .entropy(let error): error.description
        case .balloon(let error): "-device virtio-balloon-device: cannot set up its timer: \(error)"
        case .vsock(let error): error.description
        case .socketVsock(let error): error.description
        case .share(let error): error.description
        case .memoryDevice(let error): "-device: \(error)"
        case .memoryPlacement(let error): error.description
        case .vhostUser(let error): error.description
        case .iothread(let id, let error): "-object iothread,id=\(id): cannot start the thread: \(error)"
        case .descriptor(let option, let error): "\(option): \(error)"
        case .noBackend(let device, let backend): "device '\(device)': there is nothing with the id '\(backend)'"
        case .notPluggable(let netdev): "-netdev \(netdev): type vhost-user is possible only for a device of the command line"
        case .backendInUse(let backend, let device): "'\(backend)' is used by device '\(device)' already"
        case .place(let device, let error): "cannot place the \(device): \(error)"
        case .layout(let error): "-m: \(error)"
        case .boot(let error): error.description
        case .acpi(let error): error.description
        case .tables(let error): "cannot write the ACPI tables: \(error)"
        case .memoryMap(let error): error.description
        case .deviceTree(let error): "cannot build the device tree: \(error)"
        case .writeDeviceTree(let error): "cannot write the device tree: \(error)"
        case .dumpDeviceTree(let path, let error): "-machine: dumpdtb=: cannot create '\(path)': \(error)"
        case .random(let error): "the host gives no random numbers: \(error)"
        case .missingCPUFeature(let feature): "-cpu: \(feature)=on: this host's KVM does not have it"
        case .noGICv3: "-machine: gic-version=3: this host's KVM has version 2 only"
        case .otherArchitecture(let option, let architecture): "\(option): for \(architecture) machines only"
        case .wrongState: "the machine was realized or started already"
        }
    }
}

/// Runs `body`; what it throws becomes a machine's error.
func lift<Failure: Error, Value>(
    _ wrap: (Failure) -> MachineError, _ body: () throws(Failure) -> Value
) throws(MachineError) -> Value {
    do throws(Failure) { return try body() } catch { throw wrap(error) }
}
