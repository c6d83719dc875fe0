public import FDT

/// The nodes of what each aarch64 processor has for itself, to be written inside the root, whose `interrupt-parent` is the GIC.
extension FDTBuilder {
    /// The firmware interface by which the guest starts its other vCPUs, powers off and resets; KVM answers it (kernel
    /// Documentation/devicetree/bindings/arm/psci.yaml).
    public mutating func psci() throws(FDTError) {
        try beginNode("psci")
        try property("compatible", ["arm,psci-1.0", "arm,psci-0.2"])
        try property("method", "hvc")
        try endNode()
    }

    /// The architected timer (kernel Documentation/devicetree/bindings/timer/arm,arch_timer.yaml): its secure, non-secure, virtual and hypervisor interrupt.
    ///
    /// - Parameter gicV2CPUs: the number of vCPUs on a GICv2, whose binding wants to know where the interrupt is wired to; 0 for later ones.
    public mutating func timer(gicV2CPUs: Int = 0) throws(FDTError) {
        try beginNode("timer")
        try property("compatible", "arm,armv8-timer")
        try property("interrupts", cells: [13, 14, 11, 10].flatMap { Self.privateInterrupt($0, Self.activeLow, gicV2CPUs) })
        // Without it Linux prepares for a timer that stops when its processor sleeps.
        try property("always-on")
        try endNode()
    }

    /// The performance monitoring unit (kernel Documentation/devicetree/bindings/arm/pmu.yaml) of vCPUs that have one; it interrupts with `pmuInterrupt`.
    ///
    /// - Parameter gicV2CPUs: as for `timer`.
    public mutating func pmu(gicV2CPUs: Int = 0) throws(FDTError) {
        try beginNode("pmu")
        try property("compatible", "arm,armv8-pmuv3")
        try property("interrupts", cells: Self.privateInterrupt(Self.pmuInterrupt &- 16, Self.activeHigh, gicV2CPUs))
        try endNode()
    }

    /// The INTID that `pmu` names, for `AArch64VirtualCPU.enablePMU`. Private peripheral interrupts begin with INTID 16.
    public static let pmuInterrupt: UInt32 = 23

    private static let activeHigh: UInt32 = 4
    private static let activeLow: UInt32 = 8

    /// Three cells (kernel Documentation/devicetree/bindings/interrupt-controller/arm,gic.yaml): private, number, flags with the vCPUs in bits 8...15.
    private static func privateInterrupt(_ number: UInt32, _ level: UInt32, _ gicV2CPUs: Int) -> [UInt32] {
        let mask = UInt32(1) << UInt32(min(max(0, gicV2CPUs), 8)) &- 1
        return [1, number, level | mask << 8]
    }
}
