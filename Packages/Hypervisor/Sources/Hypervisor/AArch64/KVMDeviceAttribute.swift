/// One setting of a device or of a vCPU (KVM_SET_DEVICE_ATTR, kernel Documentation/virt/kvm/devices), as plain data; compiled on every host. The header of
/// the shim checks each number here against the kernel's own.
struct KVMDeviceAttribute: Equatable, Sendable {
    /// What the kernel reads at the attribute's address.
    enum Value: Equatable, Sendable {
        case none
        case word32(UInt32)
        case word64(UInt64)
    }

    /// As <asm/kvm.h> spells it, for errors.
    let name: StaticString
    let group: UInt32
    let attribute: UInt64
    let value: Value

    static func == (a: KVMDeviceAttribute, b: KVMDeviceAttribute) -> Bool {
        a.name.description == b.name.description && a.group == b.group && a.attribute == b.attribute && a.value == b.value
    }

    private init(_ name: StaticString, group: UInt32, _ attribute: UInt64, _ value: Value = .none) {
        (self.name, self.group, self.attribute, self.value) = (name, group, attribute, value)
    }

    // The interrupt controller: devices/arm-vgic.rst, arm-vgic-v3.rst, arm-vgic-its.rst. Groups: 0 addresses, 3 number of interrupts, 4 control.

    static func distributorV2(_ base: UInt64) -> Self { Self("KVM_VGIC_V2_ADDR_TYPE_DIST", group: 0, 0, .word64(base)) }
    static func cpuInterfaceV2(_ base: UInt64) -> Self { Self("KVM_VGIC_V2_ADDR_TYPE_CPU", group: 0, 1, .word64(base)) }
    static func distributorV3(_ base: UInt64) -> Self { Self("KVM_VGIC_V3_ADDR_TYPE_DIST", group: 0, 2, .word64(base)) }
    /// Redistributors of all vCPUs, however many, from `base` on.
    static func redistributors(from base: UInt64) -> Self { Self("KVM_VGIC_V3_ADDR_TYPE_REDIST", group: 0, 3, .word64(base)) }
    static func its(_ base: UInt64) -> Self { Self("KVM_VGIC_ITS_ADDR_TYPE", group: 0, 4, .word64(base)) }

    /// Region `index` (from 0, in order) of redistributors: their number in bits 52...63, the base in 16...51, the index in 0...11. Bits of `base` and
    /// `count` that have no place are left out.
    static func redistributorRegion(index: Int, base: UInt64, count: Int) -> Self {
        let word = UInt64(truncatingIfNeeded: count & 0xFFF) << 52 | base & 0x000F_FFFF_FFFF_0000 | UInt64(truncatingIfNeeded: index & 0xFFF)
        return Self("KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION", group: 0, 5, .word64(word))
    }

    static func interruptNumbers(_ count: UInt32) -> Self { Self("KVM_DEV_ARM_VGIC_GRP_NR_IRQS", group: 3, 0, .word32(count)) }
    static let initialize = Self("KVM_DEV_ARM_VGIC_CTRL_INIT", group: 4, 0)

    // A vCPU: devices/vcpu.rst. Groups: 0 PMU, 2 stolen time.

    static func pmuInterrupt(_ intid: UInt32) -> Self { Self("KVM_ARM_VCPU_PMU_V3_IRQ", group: 0, 0, .word32(intid)) }
    static let pmuInitialize = Self("KVM_ARM_VCPU_PMU_V3_INIT", group: 0, 1)
    static func stolenTime(_ address: UInt64) -> Self { Self("KVM_ARM_VCPU_PVTIME_IPA", group: 2, 0, .word64(address)) }
}
