public import Hypervisor

/// What a vCPU starts with, and what stands still while it is paused, for one architecture. Every call comes on the thread of the vCPU that it names, while
/// that vCPU is outside the guest; one object may serve all vCPUs of a machine.
public protocol VCPUReset: Sendable {
    /// Puts the registers into the hypervisor, once, before the guest runs.
    func apply(to virtualCPU: any VirtualCPU, index: VCPUID, topology: CPUTopology) throws(HypervisorError)

    /// The vCPU goes to sleep: it executes nothing before `resumes`. Called before anybody is told that the vCPU is paused. No `resumes` follows when the
    /// vCPU ends in its sleep.
    func pauses(_ virtualCPU: any VirtualCPU)

    /// The vCPU runs on as soon as this returns.
    func resumes(_ virtualCPU: any VirtualCPU)
}

/// On x86 nothing is to be done: the kernel's clock for guests and the TSC count on.
extension VCPUReset {
    public func pauses(_ virtualCPU: any VirtualCPU) {}
    public func resumes(_ virtualCPU: any VirtualCPU) {}
}
