public import Hypervisor
public import LinuxSys

/// Where a vCPU is in its life. Created -> running <-> paused; any -> stopping -> stopped, which is final.
public enum VCPUState: Int, Equatable, Sendable {
    case created = 1, running, paused, stopping, stopped
}

/// The index of a vCPU: 0 is the one that boots.
public typealias VCPUID = Int

/// Why a vCPU ended by itself. None of these is an error of the monitor: the guest, or the hypervisor, ended the run.
public enum StopReason: Equatable, Sendable, CustomStringConvertible {
    /// x86: triple fault, for many guests the last way to reset.
    case tripleFault
    /// The guest asked its firmware interface (PSCI on aarch64) for power off (1) or reset (2), or reported a crash (3); others as KVM numbers them (kernel
    /// Documentation/virt/kvm/api.rst, KVM_EXIT_SYSTEM_EVENT).
    case systemEvent(type: UInt32)
    /// A halt (x86: HLT) reached the monitor, although the interrupt controller in the hypervisor should have waited for it.
    case halted
    /// The hypervisor gave up: suberror 1 is an instruction that it cannot emulate. `detail` says where.
    case internalError(suberror: UInt32, detail: String)
    /// The processor refused the guest's state with a hardware-specific code.
    case failEntry(reason: UInt64, detail: String)
    /// An exit that nothing here asked for.
    case unknownExit(reason: UInt32)
    /// The call that runs the guest failed. On aarch64 ENOSYS is an access to a device by an instruction of which the processor does not tell enough, such
    /// as one for two registers (kernel Documentation/virt/kvm/api.rst 4.10).
    case runFailed(Errno, detail: String)
    /// The registers could not be put into the hypervisor; the guest never ran.
    case resetFailed(HypervisorError)

    public var description: String {
        switch self {
        case .tripleFault: "triple fault"
        case .systemEvent(type: 1): "power off"
        case .systemEvent(type: 2): "reset"
        case .systemEvent(type: 3): "the guest reports a crash"
        case .systemEvent(let type): "system event \(type)"
        case .halted: "unexpected halt"
        case .internalError(1, let detail): "KVM cannot emulate an instruction (\(detail))"
        case .internalError(let suberror, let detail): "KVM internal error \(suberror) (\(detail))"
        case .failEntry(let reason, let detail): "the processor refused the guest's state, reason 0x\(String(reason, radix: 16)) (\(detail))"
        case .unknownExit(let reason): "KVM exit \(reason) is not known"
        case .runFailed(.notImplemented, let detail): "KVM cannot decode an access to a device (\(detail))"
        case .runFailed(let errno, let detail): "KVM_RUN failed: \(errno) (\(detail))"
        case .resetFailed(let error): error.description
        }
    }
}

/// Why a vCPU did not do what it was told.
public enum CPUError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The operation has no meaning in this state.
    case wrongState(VCPUID, VCPUState)
    /// `prepare` has not given registers.
    case notPrepared(VCPUID)
    /// The thread did not leave the guest or a device in time; the request stays in force.
    case pauseTimedOut(VCPUID)
    /// A vCPU's own thread cannot wait for itself.
    case onOwnThread(VCPUID)
    /// The thread or its signal handler could not be set up.
    case cannotStart(VCPUID, Errno)

    public var description: String {
        switch self {
        case .wrongState(let id, let state): "vCPU \(id) is \(state)"
        case .notPrepared(let id): "vCPU \(id) has no registers to start with"
        case .pauseTimedOut(let id): "vCPU \(id) does not pause"
        case .onOwnThread(let id): "vCPU \(id) cannot wait for itself"
        case .cannotStart(let id, let errno): "cannot start the thread of vCPU \(id): \(errno)"
        }
    }
}
