public import Hypervisor
internal import Synchronization

/// The aarch64 registers and features that a `TestVirtualCPU` was given, and the order in which.
public struct TestAArch64State: Equatable, Sendable {
    public enum Call: Equatable, Sendable {
        case initialize(AArch64CPUFeatures, startsRunning: Bool)
        case setRegister(AArch64Register, UInt64)
        case setVirtualCounter(UInt64)
        case enablePMU(interrupt: UInt32)
        case setStolenTime(address: UInt64)
    }
    public var calls: [Call] = []
    public var registers: [AArch64Register: UInt64] = [:]
    /// Stands still.
    public var virtualCounter: UInt64 = 0
    /// Nil: what KVM gives to a vCPU of this id.
    public var mpidr: UInt64?
    public var isInitialized = false
    /// What each call throws from now on.
    public var error: HypervisorError?

    public init() {}

    /// MPIDR_EL1 as KVM derives it from a vCPU's id (kernel arch/arm64/kvm/sys_regs.c, reset_mpidr): 16 vCPUs in a cluster, since one write of the GIC
    /// reaches so many.
    public static func mpidr(vcpu id: UInt32) -> UInt64 {
        let id = UInt64(id)
        return id & 0xF | (id >> 4 & 0xFF) << 8 | (id >> 12 & 0xFF) << 16 | 1 << 31
    }
}

extension TestVirtualCPU: AArch64VirtualCPU {
    /// To be looked at, or prepared before the vCPU starts.
    public var aarch64State: TestAArch64State {
        get { state.withLock { $0.aarch64 } }
        set { state.withLock { $0.aarch64 = newValue } }
    }

    private func record(_ call: TestAArch64State.Call, _ body: (inout TestAArch64State) -> Void) throws(HypervisorError) {
        let error = state.withLock { state in
            if let error = state.aarch64.error { return error as HypervisorError? }
            state.aarch64.calls.append(call)
            body(&state.aarch64)
            return nil
        }
        if let error { throw error }
        log?.add(.aarch64(vcpu: id, call))
    }

    private func ask<Value>(_ body: (TestAArch64State) -> Value) throws(HypervisorError) -> Value {
        let aarch64 = aarch64State
        if let error = aarch64.error { throw error }
        return body(aarch64)
    }

    public func initialize(_ features: AArch64CPUFeatures, startsRunning: Bool) throws(HypervisorError) {
        try record(.initialize(features, startsRunning: startsRunning)) { $0.isInitialized = true }
    }

    public func mpidr() throws(HypervisorError) -> UInt64 { try ask { $0.mpidr ?? TestAArch64State.mpidr(vcpu: id) } }

    public func setRegister(_ register: AArch64Register, _ value: UInt64) throws(HypervisorError) {
        try record(.setRegister(register, value)) { $0.registers[register] = value }
    }

    public func register(_ register: AArch64Register) throws(HypervisorError) -> UInt64 { try ask { $0.registers[register] ?? 0 } }

    public func virtualCounter() throws(HypervisorError) -> UInt64 { try ask { $0.virtualCounter } }

    public func setVirtualCounter(_ value: UInt64) throws(HypervisorError) {
        try record(.setVirtualCounter(value)) { $0.virtualCounter = value }
    }

    public func enablePMU(interrupt: UInt32) throws(HypervisorError) { try record(.enablePMU(interrupt: interrupt)) { _ in } }

    public func setStolenTime(address: UInt64) throws(HypervisorError) { try record(.setStolenTime(address: address)) { _ in } }
}
