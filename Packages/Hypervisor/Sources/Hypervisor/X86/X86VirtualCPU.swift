/// The registers of an x86 vCPU. On the vCPU's thread, outside `run`; everything throws `HypervisorError.call` when the kernel refuses.
public protocol X86VirtualCPU: VirtualCPU {
    /// What the hypervisor can give to a guest, the same for each vCPU of a machine, with the host's brand string.
    func supportedCPUID() throws(HypervisorError) -> [CPUIDEntry]
    /// The hypervisor emulates the TSC-deadline timer, whether `supportedCPUID` shows it or not (kernel Documentation/virt/kvm/api.rst 4.46).
    var hasTSCDeadlineTimer: Bool { get }

    /// Before any MSR: which MSRs exist depends on it.
    func setCPUID(_ entries: [CPUIDEntry]) throws(HypervisorError)
    func setGeneralRegisters(_ registers: X86GeneralRegisters) throws(HypervisorError)
    func generalRegisters() throws(HypervisorError) -> X86GeneralRegisters
    func setSpecialRegisters(_ registers: X86SpecialRegisters) throws(HypervisorError)
    func specialRegisters() throws(HypervisorError) -> X86SpecialRegisters
    /// Resets the x87 and SSE state and gives the two control words.
    func setFPUControl(controlWord: UInt16, mxcsr: UInt32) throws(HypervisorError)
    /// Sets MSRs in order; the number that were set. Fewer than given: the next one was refused and the rest not tried.
    func setMSRs(_ entries: ArraySlice<MSREntry>) throws(HypervisorError) -> Int
    func msr(_ index: UInt32) throws(HypervisorError) -> UInt64
    /// The local APIC's LINT0 and LINT1 entries (Intel SDM vol. 3, 11.5.1).
    func setLocalInterrupts(lint0: UInt32, lint1: UInt32) throws(HypervisorError)
    func localInterrupts() throws(HypervisorError) -> (lint0: UInt32, lint1: UInt32)
}
