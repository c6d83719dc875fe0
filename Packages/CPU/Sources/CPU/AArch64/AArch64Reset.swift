public import Hypervisor

/// The start of the vCPUs of an aarch64 machine, and the counter that stands still while all of them are paused. One object for the whole machine.
public struct AArch64Reset: VCPUReset {
    public let registers: AArch64RegisterImage
    private let counter: SharedVirtualCounter

    /// `vcpus`: how many vCPUs the machine has. Each is given this object.
    public init(_ registers: AArch64RegisterImage, vcpus: Int) {
        self.registers = registers
        counter = SharedVirtualCounter(vcpus: vcpus)
    }

    /// Only the first vCPU gets registers. The others are powered off since they were initialized, and PSCI CPU_ON sets theirs.
    public func apply(to virtualCPU: any VirtualCPU, index: VCPUID, topology: CPUTopology) throws(HypervisorError) {
        guard let cpu = virtualCPU.aarch64 else { throw .unsupported("aarch64 registers") }
        guard index == 0 else { return }
        try cpu.setRegister(.pstate, registers.pstate)
        try cpu.setRegister(.x(0), registers.x0)
        try cpu.setRegister(.x(1), registers.x1)
        try cpu.setRegister(.x(2), registers.x2)
        try cpu.setRegister(.x(3), registers.x3)
        try cpu.setRegister(.pc, registers.pc)
    }

    public func pauses(_ virtualCPU: any VirtualCPU) { counter.pauses(virtualCPU) }
    public func resumes(_ virtualCPU: any VirtualCPU) { counter.resumes(virtualCPU) }
}
