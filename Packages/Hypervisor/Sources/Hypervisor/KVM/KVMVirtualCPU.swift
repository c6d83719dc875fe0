internal import CKVM
internal import LinuxSys

/// A vCPU of KVM: its descriptor and the page (struct kvm_run) that it shares with the kernel.
@safe
public final class KVMVirtualCPU: VirtualCPU, @unchecked Sendable {
    public let id: UInt32
    let machine: KVMVirtualMachine
    let file: OwnedFD
    // SAFETY: mapped in init, unmapped in deinit, never moved: valid as long as this object. The kernel writes it during KVM_RUN only, and only
    // the vCPU's thread reads it or runs; what crosses threads is the one byte immediate_exit, stored atomically.
    let shared: UnsafeMutableRawPointer
    let sharedSize: Int
    /// Opened before the vCPU runs: KVM_RUN holds the vCPU's lock, so whoever asked for it later would wait for the guest.
    private let statisticsFile: OwnedFD?

    init(machine: KVMVirtualMachine, id: UInt32) throws(HypervisorError) {
        let number = try kvmCall("KVM_CREATE_VCPU", ckvm_create_vcpu(machine.file.raw, id))
        file = OwnedFD(adopting: Int32(truncatingIfNeeded: number))
        var address: UnsafeMutableRawPointer?
        // SAFETY: `address` receives a fresh mapping of `sharedSize` bytes, which this object owns from here on.
        try unsafe kvmCall("mmap of kvm_run", ckvm_map_run(file.raw, machine.kvm.sharedSize, &address))
        guard let address = unsafe address else { throw .call("mmap of kvm_run", .invalid) }
        unsafe shared = address
        sharedSize = machine.kvm.sharedSize
        statisticsFile = KVMStatistics.open(file.raw)
        self.machine = machine
        self.id = id
    }

    deinit {
        // SAFETY: nobody runs a vCPU to which no reference is left.
        unsafe ckvm_unmap_run(shared, sharedSize)
    }

    public func run() -> VCPUExit {
        let result = ckvm_run(file.raw)
        guard result >= 0 else { return Self.exit(ofFailure: result) }
        // SAFETY: see `shared`; KVM checked at start that the mapping holds a whole struct kvm_run.
        let reason = unsafe ckvm_run_exit_reason(shared)
        switch reason {
        case UInt32(KVM_EXIT_IO): return portExit()
        case UInt32(KVM_EXIT_MMIO): return mmioExit()
        case UInt32(KVM_EXIT_HLT): return .halt
        case UInt32(KVM_EXIT_SHUTDOWN): return .shutdown
        case UInt32(KVM_EXIT_INTR): return .interrupted
        case UInt32(KVM_EXIT_IRQ_WINDOW_OPEN): return .again
        // SAFETY: as above, in the next three.
        case UInt32(KVM_EXIT_SYSTEM_EVENT): return .systemEvent(type: unsafe ckvm_run_event_type(shared))
        case UInt32(KVM_EXIT_FAIL_ENTRY): return .failEntry(reason: unsafe ckvm_run_fail_reason(shared))
        case UInt32(KVM_EXIT_INTERNAL_ERROR): return .internalError(suberror: unsafe ckvm_run_suberror(shared))
        default: return architectureExit(reason)
        }
    }

    private static func exit(ofFailure result: Int) -> VCPUExit {
        switch Errno(result: result) {
        case .interrupted: .interrupted
        // A vCPU that waited for its start was started (kernel Documentation/virt/kvm/api.rst 4.10).
        case .again: .again
        case let errno: .failed(errno: errno.code)
        }
    }

    public var immediateExitAddress: UInt {
        // SAFETY: an address only; see `shared` for how long it is good.
        unsafe UInt(bitPattern: ckvm_run_immediate_exit(shared))
    }

    public func setImmediateExit(_ on: Bool) {
        // SAFETY: see `shared`; an atomic store of one byte.
        unsafe ckvm_run_set_immediate_exit(shared, on ? 1 : 0)
    }

    public func setMPState(_ state: MPState) throws(HypervisorError) {
        let number: UInt32 = switch state {
        case .runnable: UInt32(KVM_MP_STATE_RUNNABLE)
        case .uninitialized: UInt32(KVM_MP_STATE_UNINITIALIZED)
        case .halted: UInt32(KVM_MP_STATE_HALTED)
        case .other(let number): number
        }
        try kvmCall("KVM_SET_MP_STATE", ckvm_set_mp_state(file.raw, number))
    }

    public func mpState() throws(HypervisorError) -> MPState {
        let number = try kvmCall("KVM_GET_MP_STATE", ckvm_get_mp_state(file.raw))
        return switch UInt32(truncatingIfNeeded: number) {
        case UInt32(KVM_MP_STATE_RUNNABLE): .runnable
        case UInt32(KVM_MP_STATE_UNINITIALIZED): .uninitialized
        case UInt32(KVM_MP_STATE_HALTED): .halted
        case let other: .other(other)
        }
    }

    public func statistics() -> [HypervisorStatistic] {
        // A borrow of a stored optional that cannot be copied.
        switch statisticsFile {
        case .some(let file): KVMStatistics.read(file)
        case nil: []
        }
    }

    public func diagnosis() -> String {
        var text = architectureDiagnosis()
        var bytes: [UInt8] = Array(repeating: 0, count: 15)
        // SAFETY: the function writes at most 15 bytes.
        let count = unsafe bytes.withUnsafeMutableBufferPointer { unsafe ckvm_run_failed_instruction(shared, $0.baseAddress) }
        if count > 0 {
            text += ", instruction"
            for byte in bytes.prefix(Int(count)) { text += (byte < 16 ? " 0" : " ") + String(byte, radix: 16) }
        }
        return text
    }
}
