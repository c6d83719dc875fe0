/// Words of KVM's API on aarch64 that are put together from fields; compiled on every host.
enum AArch64Numbers {
    /// Which input KVM_IRQ_LINE means: the type, 1 for a shared peripheral interrupt, in bits 24...27, the INTID in 0...15 (kernel
    /// Documentation/virt/kvm/api.rst 4.25).
    static func irqLine(gsi: UInt32) -> UInt32 { 1 << 24 | ((gsi &+ 32) & 0xFFFF) }

    /// Inputs of an interrupt controller with so many INTIDs. An irqfd counts from the first shared one: KVM routes GSI n to INTID n + 32.
    static func interruptLines(ofINTIDs count: UInt32) -> UInt32 { count > 32 ? count &- 32 : 0 }

    /// Bits of struct kvm_vcpu_init's first word.
    static func vcpuFeatures(_ features: AArch64CPUFeatures, startsRunning: Bool) -> UInt32 {
        (startsRunning ? 0 : 1 << 0) | psci | (features.pmu ? 1 << 3 : 0) | (features.sve ? 1 << sve : 0)
    }

    private static let psci: UInt32 = 1 << 2
    /// What KVM_ARM_VCPU_FINALIZE is given, too.
    static let sve: UInt32 = 4

    /// KVM's own size of guest physical addresses, in bits, and the most that a machine here needs.
    static let physicalAddressBits = 40

    /// KVM_CREATE_VM's argument and what it means, for a host that allows up to `limit` bits; 0: one that always gives 40 (before Linux 4.20).
    static func machineType(addressBitLimit limit: Int) -> (argument: UInt, bits: Int) {
        guard limit > 0 else { return (0, physicalAddressBits) }
        let bits = min(limit, physicalAddressBits)
        return (UInt(bits), bits)
    }
}
