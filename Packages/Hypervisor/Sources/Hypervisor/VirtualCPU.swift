/// Why a vCPU came back from the guest. Plain numbers: nothing is allocated on the exit path.
public enum VCPUExit: Equatable, Sendable {
    /// The guest reads `count` items of `size` (1, 2 or 4) bytes from one port; answer each with `setPortItem`. A count above 1 is a string
    /// instruction (rep ins).
    case portIn(port: UInt16, size: Int, count: Int)
    /// The guest writes `count` items to one port; take each with `portItem`.
    case portOut(port: UInt16, size: Int, count: Int)
    /// Answer with `setMMIOValue`. `size` is 1...8.
    case mmioRead(address: UInt64, size: Int)
    /// `value` is in the low `size` bytes, little endian; the bytes above are 0.
    case mmioWrite(address: UInt64, size: Int, value: UInt64)
    /// The guest halted, and no interrupt controller in the hypervisor waits for it.
    case halt
    /// Triple fault.
    case shutdown
    /// The guest's firmware interface asked for power off (1), reset (2) or reported a crash (3): KVM_EXIT_SYSTEM_EVENT.
    case systemEvent(type: UInt32)
    /// A signal or a request for an immediate exit; nothing happened in the guest.
    case interrupted
    /// Nothing to do: enter the guest again.
    case again
    /// The processor refused the guest's state.
    case failEntry(reason: UInt64)
    /// The hypervisor gave up; suberror 1 is an instruction that it cannot emulate.
    case internalError(suberror: UInt32)
    /// The call itself failed with this errno.
    case failed(errno: Int32)
    /// An exit of another kind, or one whose data makes no sense.
    case unknown(reason: UInt32)
}

/// Whether a vCPU runs from the start, or waits until another starts it.
public enum MPState: Equatable, Sendable {
    case runnable
    /// x86: waits for INIT and SIPI.
    case uninitialized
    case halted
    /// Any other state, as the hypervisor numbers it.
    case other(UInt32)
}

/// One processor of a virtual machine. Everything except `id`, `immediateExitAddress` and `statistics` belongs to the thread that runs it.
public protocol VirtualCPU: AnyObject, Sendable {
    /// Hardware id, as given to `createVCPU`.
    var id: UInt32 { get }

    /// Runs the guest until something needs the monitor. An access that the last exit asked for is completed by this call.
    func run() -> VCPUExit

    /// Item `index` of a `portOut`; 0 when there is no such item.
    func portItem(_ index: Int) -> UInt32
    /// Answers item `index` of a `portIn`; ignored when there is no such item.
    func setPortItem(_ index: Int, _ value: UInt32)
    /// Answers an `mmioRead`.
    func setMMIOValue(_ value: UInt64)

    /// Address of a byte that makes `run` return `interrupted` as long as it is not 0 (kvm_run.immediate_exit), for a signal handler on the
    /// thread that calls `run`. Valid as long as this object.
    var immediateExitAddress: UInt { get }
    func setImmediateExit(_ on: Bool)

    func setMPState(_ state: MPState) throws(HypervisorError)
    func mpState() throws(HypervisorError) -> MPState

    /// The x86 registers; nil on other architectures.
    var x86: (any X86VirtualCPU)? { get }
    /// The aarch64 registers; nil on other architectures.
    var aarch64: (any AArch64VirtualCPU)? { get }

    /// What the hypervisor counts for the vCPU, also while it runs; empty when it counts nothing. Any thread.
    func statistics() -> [HypervisorStatistic]

    /// Where the guest is, as text for an error message. Slow.
    func diagnosis() -> String
}

extension VirtualCPU {
    public var x86: (any X86VirtualCPU)? { nil }
    public var aarch64: (any AArch64VirtualCPU)? { nil }
    public func statistics() -> [HypervisorStatistic] { [] }
}
