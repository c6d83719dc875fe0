public import Hypervisor
internal import LinuxSys

/// The start of an x86 vCPU: CPUID, registers, FPU, local APIC and MSRs.
public struct X86Reset: VCPUReset, Equatable {
    public let registers: X86RegisterImage

    public init(_ registers: X86RegisterImage) { self.registers = registers }

    public func apply(to virtualCPU: any VirtualCPU, index: VCPUID, topology: CPUTopology) throws(HypervisorError) {
        guard let cpu = virtualCPU.x86 else { throw .unsupported("x86 registers") }
        // First, since it decides which MSRs and control register bits there are.
        try cpu.setCPUID(X86CPUID.entries(
            supported: cpu.supportedCPUID(), topology: topology, apicID: cpu.id, tscDeadlineTimer: cpu.hasTSCDeadlineTimer))
        if index == 0 {
            try cpu.setMPState(.runnable)
            try cpu.setSpecialRegisters(registers.special)
            try cpu.setGeneralRegisters(registers.general)
            // Virtual wire mode (MP specification 1.4, 3.6.2.2): the PIC comes in through LINT0, NMI through LINT1.
            try cpu.setLocalInterrupts(lint0: X86Reset.externalInterrupt, lint1: X86Reset.nonMaskableInterrupt)
        } else {
            // Waits for INIT and SIPI from the first vCPU, which set its registers and local APIC.
            try cpu.setMPState(.uninitialized)
        }
        try cpu.setFPUControl(controlWord: 0x37F, mxcsr: 0x1F80)
        try setMSRs(on: cpu)
    }

    /// Delivery modes of a local vector table entry, not masked (Intel SDM vol. 3, 11.5.1).
    static let externalInterrupt: UInt32 = 0b111 << 8
    static let nonMaskableInterrupt: UInt32 = 0b100 << 8

    private func setMSRs(on cpu: any X86VirtualCPU) throws(HypervisorError) {
        let all = X86MSRs.essential + X86MSRs.optional
        var rest = all[...]
        while !rest.isEmpty {
            let done = try cpu.setMSRs(rest)
            guard done < rest.count else { return }
            let refused = rest[rest.startIndex + max(0, done)]
            if X86MSRs.essential.contains(refused) { throw .msrRefused(index: refused.index) }
            Log.warn("KVM refuses MSR 0x\(String(refused.index, radix: 16)); the guest goes without")
            rest = rest.dropFirst(max(0, done) + 1)
        }
    }
}

extension VCPU {
    /// Gives the registers with which the vCPU starts. Only vCPU 0 uses them: the others wait for it to start them.
    public func prepare(_ registers: X86RegisterImage) { prepare(X86Reset(registers)) }
}
