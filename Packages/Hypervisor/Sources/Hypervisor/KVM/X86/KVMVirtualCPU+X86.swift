#if arch(x86_64)
internal import CKVM
internal import LinuxSys

extension KVMVirtualCPU: X86VirtualCPU {
    public var x86: (any X86VirtualCPU)? { self }

    public func supportedCPUID() throws(HypervisorError) -> [CPUIDEntry] { try machine.supportedCPUID() }

    public var hasTSCDeadlineTimer: Bool { machine.kvm.value(of: .tscDeadlineTimer) > 0 }

    public func setCPUID(_ entries: [CPUIDEntry]) throws(HypervisorError) {
        let raw = entries.map(\.raw)
        // SAFETY: the function reads `count` entries and no more.
        try unsafe kvmCall("KVM_SET_CPUID2", raw.withUnsafeBufferPointer {
            unsafe ckvm_set_cpuid2(file.raw, $0.baseAddress, UInt32(clamping: $0.count))
        })
    }

    public func setGeneralRegisters(_ registers: X86GeneralRegisters) throws(HypervisorError) {
        var raw = kvm_regs(registers)
        // SAFETY: in this file the kernel reads or writes one local structure of the type that the call is defined for.
        try unsafe kvmCall("KVM_SET_REGS", ckvm_set_regs(file.raw, &raw))
    }

    public func generalRegisters() throws(HypervisorError) -> X86GeneralRegisters {
        var raw = kvm_regs()
        try unsafe kvmCall("KVM_GET_REGS", ckvm_get_regs(file.raw, &raw))
        return X86GeneralRegisters(raw)
    }

    public func setSpecialRegisters(_ registers: X86SpecialRegisters) throws(HypervisorError) {
        // Read first: the APIC's base with its BSP flag, CR2 and CR8 are to stay.
        var raw = kvm_sregs()
        try unsafe kvmCall("KVM_GET_SREGS", ckvm_get_sregs(file.raw, &raw))
        raw.apply(registers)
        unsafe ckvm_sregs_clear_pending_interrupt(&raw)
        try unsafe kvmCall("KVM_SET_SREGS", ckvm_set_sregs(file.raw, &raw))
    }

    public func specialRegisters() throws(HypervisorError) -> X86SpecialRegisters {
        var raw = kvm_sregs()
        try unsafe kvmCall("KVM_GET_SREGS", ckvm_get_sregs(file.raw, &raw))
        return X86SpecialRegisters(raw)
    }

    public func setFPUControl(controlWord: UInt16, mxcsr: UInt32) throws(HypervisorError) {
        try kvmCall("KVM_SET_FPU", ckvm_set_fpu_control(file.raw, controlWord, mxcsr))
    }

    public func setMSRs(_ entries: ArraySlice<MSREntry>) throws(HypervisorError) -> Int {
        let raw = entries.map { kvm_msr_entry(index: $0.index, reserved: 0, data: $0.value) }
        // SAFETY: the function reads `count` entries and no more.
        return try unsafe kvmCall("KVM_SET_MSRS", raw.withUnsafeBufferPointer {
            unsafe ckvm_set_msrs(file.raw, $0.baseAddress, UInt32(clamping: $0.count))
        })
    }

    public func msr(_ index: UInt32) throws(HypervisorError) -> UInt64 {
        var value: UInt64 = 0
        try unsafe kvmCall("KVM_GET_MSRS", ckvm_get_msr(file.raw, index, &value))
        return value
    }

    public func setLocalInterrupts(lint0: UInt32, lint1: UInt32) throws(HypervisorError) {
        try kvmCall("KVM_SET_LAPIC", ckvm_set_lint(file.raw, lint0, lint1))
    }

    public func localInterrupts() throws(HypervisorError) -> (lint0: UInt32, lint1: UInt32) {
        var lint0: UInt32 = 0
        var lint1: UInt32 = 0
        try unsafe kvmCall("KVM_GET_LAPIC", ckvm_get_lint(file.raw, &lint0, &lint1))
        return (lint0, lint1)
    }

    func architectureExit(_ reason: UInt32) -> VCPUExit { .unknown(reason: reason) }

    func architectureDiagnosis() -> String {
        guard let registers = try? generalRegisters() else { return "" }
        return "rip 0x" + String(registers.rip, radix: 16)
    }
}
#endif
