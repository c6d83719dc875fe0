/// A register of an aarch64 vCPU, by the number under which KVM reads and writes it (KVM_GET_ONE_REG, kernel Documentation/virt/kvm/api.rst 4.68);
/// all are 64 bits wide. Compiled on every host.
public struct AArch64Register: Hashable, Sendable {
    public let id: UInt64

    /// Any register of 64 bits.
    public static func raw(_ id: UInt64) -> AArch64Register { AArch64Register(id: id) }

    /// X0...X30. 31 is `sp`, as in the instruction set; bits above the low five are ignored.
    public static func x(_ number: Int) -> AArch64Register { core(word: 2 &* UInt64(truncatingIfNeeded: number & 31)) }
    /// SP_EL0, whatever the stack pointer that is in use.
    public static let sp = core(word: 62)
    public static let pc = core(word: 64)
    public static let pstate = core(word: 66)

    /// MPIDR_EL1: the affinity, by which device tree, PSCI and GIC know the vCPU.
    public static let mpidr = system(op0: 3, op1: 0, crn: 0, crm: 0, op2: 5)
    /// CNTVCT_EL0, the counter that the guest reads: KVM_REG_ARM_TIMER_CNT.
    public static let virtualCounter = system(op0: 3, op1: 3, crn: 14, crm: 3, op2: 2)

    private static let architecture: UInt64 = 0x6000_0000_0000_0000
    private static let wide: UInt64 = 0x0030_0000_0000_0000
    private static let coreGroup: UInt64 = 0x0010 << 16
    private static let systemGroup: UInt64 = 0x0013 << 16

    /// `word`: where the register is in struct kvm_regs, in words of 32 bits (KVM_REG_ARM_CORE_REG).
    private static func core(word: UInt64) -> AArch64Register { AArch64Register(id: architecture | wide | coreGroup | word) }

    /// A system register by the fields of the instructions MRS and MSR (ARM64_SYS_REG).
    static func system(op0: UInt64, op1: UInt64, crn: UInt64, crm: UInt64, op2: UInt64) -> AArch64Register {
        let fields = (op0 & 3) << 14 | (op1 & 7) << 11 | (crn & 15) << 7 | (crm & 15) << 3 | op2 & 7
        return AArch64Register(id: architecture | wide | systemGroup | fields)
    }
}
