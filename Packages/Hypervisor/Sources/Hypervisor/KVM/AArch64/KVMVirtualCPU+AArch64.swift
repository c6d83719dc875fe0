#if arch(arm64)
internal import CKVM
internal import LinuxSys

extension KVMVirtualCPU: AArch64VirtualCPU {
    public var aarch64: (any AArch64VirtualCPU)? { self }

    public func initialize(_ features: AArch64CPUFeatures, startsRunning: Bool) throws(HypervisorError) {
        let target = try kvmCall("KVM_ARM_PREFERRED_TARGET", ckvm_preferred_target(machine.file.raw))
        let bits = AArch64Numbers.vcpuFeatures(features, startsRunning: startsRunning)
        try kvmCall("KVM_ARM_VCPU_INIT", ckvm_vcpu_init(file.raw, UInt32(truncatingIfNeeded: target), bits))
        // The vector lengths stay as KVM has them: all that the host has.
        if features.sve { try kvmCall("KVM_ARM_VCPU_FINALIZE", ckvm_vcpu_finalize(file.raw, Int32(AArch64Numbers.sve))) }
    }

    public func mpidr() throws(HypervisorError) -> UInt64 { try register(.mpidr) }

    public func setRegister(_ register: AArch64Register, _ value: UInt64) throws(HypervisorError) {
        try kvmCall("KVM_SET_ONE_REG", ckvm_set_register(file.raw, register.id, value))
    }

    public func register(_ register: AArch64Register) throws(HypervisorError) -> UInt64 {
        var value: UInt64 = 0
        // SAFETY: the kernel writes the eight bytes of a local variable; the shim refuses registers of another size.
        try unsafe kvmCall("KVM_GET_ONE_REG", ckvm_get_register(file.raw, register.id, &value))
        return value
    }

    public func virtualCounter() throws(HypervisorError) -> UInt64 { try register(.virtualCounter) }

    public func setVirtualCounter(_ value: UInt64) throws(HypervisorError) { try setRegister(.virtualCounter, value) }

    public func enablePMU(interrupt: UInt32) throws(HypervisorError) {
        try KVMDeviceAttribute.pmuInterrupt(interrupt).set(on: file.raw)
        try KVMDeviceAttribute.pmuInitialize.set(on: file.raw)
    }

    public func setStolenTime(address: UInt64) throws(HypervisorError) { try KVMDeviceAttribute.stolenTime(address).set(on: file.raw) }

    /// An instruction that would have to be emulated, and cannot be, since the processor does not describe it: a pair of registers stored to a device, or to memory
    /// that is read-only. It is answered as hardware answers an access that nobody takes (KVM_CAP_ARM_INJECT_EXT_DABT), and the guest goes on as it can.
    func architectureExit(_ reason: UInt32) -> VCPUExit {
        guard reason == UInt32(KVM_EXIT_ARM_NISV) else { return .unknown(reason: reason) }
        guard ckvm_inject_data_abort(file.raw) >= 0 else { return .internalError(suberror: UInt32(KVM_INTERNAL_ERROR_EMULATION)) }
        return .again
    }

    func architectureDiagnosis() -> String {
        guard let pc = try? register(.pc), let pstate = try? register(.pstate) else { return "" }
        var text = "pc 0x" + String(pc, radix: 16) + ", pstate 0x" + String(pstate, radix: 16)
        // SAFETY: see `shared`; the fields are copied once.
        if unsafe ckvm_run_exit_reason(shared) == UInt32(KVM_EXIT_ARM_NISV) {
            let access = unsafe ckvm_run_nisv(shared)
            text += ", address 0x" + String(access.address, radix: 16) + ", syndrome 0x" + String(access.syndrome, radix: 16)
        }
        return text
    }
}
#endif
