#if arch(arm64)
public import AddressSpace
internal import CKVM
internal import LinuxSys
internal import Synchronization

extension KVMCapability {
    static let requiredByArchitecture = [
        KVMCapability("KVM_CAP_ONE_REG", KVM_CAP_ONE_REG),
        KVMCapability("KVM_CAP_ARM_PSCI_0_2", KVM_CAP_ARM_PSCI_0_2),
        KVMCapability("KVM_CAP_DEVICE_CTRL", KVM_CAP_DEVICE_CTRL),
        // The kernel routes an irqfd's input to an interrupt of the GIC.
        KVMCapability("KVM_CAP_IRQ_ROUTING", KVM_CAP_IRQ_ROUTING),
    ]

    static let addressBits = KVMCapability("KVM_CAP_ARM_VM_IPA_SIZE", KVM_CAP_ARM_VM_IPA_SIZE)
    static let pmu = KVMCapability("KVM_CAP_ARM_PMU_V3", KVM_CAP_ARM_PMU_V3)
    static let sve = KVMCapability("KVM_CAP_ARM_SVE", KVM_CAP_ARM_SVE)
    static let stolenTime = KVMCapability("KVM_CAP_STEAL_TIME", KVM_CAP_STEAL_TIME)
    static let undecodedExits = KVMCapability("KVM_CAP_ARM_NISV_TO_USER", KVM_CAP_ARM_NISV_TO_USER)
}

/// What belongs to a machine on aarch64 only.
final class KVMArchitecture: Sendable {
    /// KVM_CREATE_VM's argument.
    let machineType: UInt
    let physicalAddressBits: Int
    /// The interrupt controller; none before `createGIC`.
    let gic = Mutex<KVMGIC?>(nil)

    init(kvm: KVM) { (machineType, physicalAddressBits) = AArch64Numbers.machineType(addressBitLimit: kvm.value(of: .addressBits)) }

    /// Inputs of the interrupt controller.
    var interruptLineLimit: UInt32 { gic.withLock { $0?.lines ?? 0 } }

    /// Ids are given from 0 on without a gap, so the number of vCPUs, 8 where the host has a GICv2, bounds them.
    static func vcpuIDLimit(of kvm: KVM) -> Int { kvm.value(of: .vcpus) }

    /// KVM_IRQ_LINE's number of an input.
    static func irqLine(gsi: UInt32) -> UInt32 { AArch64Numbers.irqLine(gsi: gsi) }
}

extension KVMVirtualMachine: AArch64VirtualMachine {
    public var aarch64: (any AArch64VirtualMachine)? { self }

    /// A load or store that the processor does not describe, to a device or to nowhere, comes as an exit that says where, instead of as a failed KVM_RUN
    /// (kernel Documentation/virt/kvm/api.rst, KVM_CAP_ARM_NISV_TO_USER; Linux 5.5). Older kernels do without.
    func prepareArchitecture() throws(HypervisorError) {
        guard kvm.value(of: .undecodedExits) > 0 else { return }
        try kvmCall("KVM_ENABLE_CAP of KVM_CAP_ARM_NISV_TO_USER", ckvm_enable_nisv_exits(file.raw))
    }

    /// There is nothing that could be made before the vCPUs.
    public func createIRQChip() throws(HypervisorError) {}

    /// There are no ports.
    public func portListener() -> any AddressSpaceListener { NoPorts() }

    public var hasPMU: Bool { kvm.value(of: .pmu) > 0 }
    public var hasSVE: Bool { kvm.value(of: .sve) > 0 }
    public var hasStolenTime: Bool { kvm.value(of: .stolenTime) > 0 }
    public var physicalAddressBits: Int { architecture.physicalAddressBits }

    public func createGIC(_ layout: GICLayout, vcpus: Int) throws(HypervisorError) -> GICKind {
        guard architecture.gic.withLock({ $0 == nil }) else { throw .unsupported("a second interrupt controller") }
        let gic = try KVMGIC(machine: self, layout: layout, vcpus: vcpus)
        architecture.gic.withLock { $0 = gic }
        return gic.kind
    }
}

private final class NoPorts: AddressSpaceListener {}
#endif
