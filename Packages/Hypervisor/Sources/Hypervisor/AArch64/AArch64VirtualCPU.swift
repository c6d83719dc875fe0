/// What an aarch64 vCPU is to have besides what all have (PSCI 0.2 among that).
public struct AArch64CPUFeatures: Equatable, Sendable {
    /// A performance monitoring unit, version 3.
    public var pmu: Bool
    /// The scalable vector extension, with the host's vector lengths.
    public var sve: Bool

    public init(pmu: Bool = false, sve: Bool = false) { (self.pmu, self.sve) = (pmu, sve) }
}

/// The registers and the features of an aarch64 vCPU. On the vCPU's thread, outside `run`, or before there is such a thread; everything throws
/// `HypervisorError.call` when the kernel refuses.
///
/// Order of calls: `initialize` for every vCPU, then `AArch64VirtualMachine.createGIC`, then `enablePMU` and `setStolenTime`; registers at any time after
/// `initialize`, which resets them. A vCPU that waits for its start waits in `run`, and `interrupted` ends that as always.
public protocol AArch64VirtualCPU: VirtualCPU {
    /// The host's own kind of processor, with PSCI 0.2. One that does not start running waits until the guest starts it (PSCI CPU_ON).
    func initialize(_ features: AArch64CPUFeatures, startsRunning: Bool) throws(HypervisorError)

    /// MPIDR_EL1 as the hypervisor chose it: affinity fields in bits 0...7, 8...15, 16...23 and 32...39, bit 31 set.
    func mpidr() throws(HypervisorError) -> UInt64

    func setRegister(_ register: AArch64Register, _ value: UInt64) throws(HypervisorError)
    func register(_ register: AArch64Register) throws(HypervisorError) -> UInt64

    /// CNTVCT_EL0, which counts on while the vCPU does not run. All vCPUs of a machine share its offset: set for one, it is set for all.
    func virtualCounter() throws(HypervisorError) -> UInt64
    func setVirtualCounter(_ value: UInt64) throws(HypervisorError)

    /// Connects the PMU of a vCPU that was initialized with one to `interrupt`, the INTID (16...31) of a private interrupt, the same for all vCPUs.
    func enablePMU(interrupt: UInt32) throws(HypervisorError)

    /// Where the vCPU finds its stolen time: 64 bytes, 64 byte aligned, its own, of guest RAM that the memory listener has seen (Arm DEN0057). Once.
    func setStolenTime(address: UInt64) throws(HypervisorError)
}
