internal import CKVM

/// A capability of KVM (kernel Documentation/virt/kvm/api.rst 4.4) with the name that an error shows.
struct KVMCapability: Sendable {
    let name: StaticString
    let number: Int

    init(_ name: StaticString, _ number: Int32) {
        self.name = name
        self.number = Int(number)
    }

    /// What no machine can do without, whatever the architecture.
    static let required = [
        KVMCapability("KVM_CAP_USER_MEMORY", KVM_CAP_USER_MEMORY),
        KVMCapability("KVM_CAP_DESTROY_MEMORY_REGION_WORKS", KVM_CAP_DESTROY_MEMORY_REGION_WORKS),
        KVMCapability("KVM_CAP_IRQCHIP", KVM_CAP_IRQCHIP),
        KVMCapability("KVM_CAP_IOEVENTFD", KVM_CAP_IOEVENTFD),
        KVMCapability("KVM_CAP_IRQFD", KVM_CAP_IRQFD),
        KVMCapability("KVM_CAP_MP_STATE", KVM_CAP_MP_STATE),
        // Without it a kick that arrives just before KVM_RUN is lost.
        KVMCapability("KVM_CAP_IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT),
    ]

    // Wanted by some machines only: asked for when they come.
    static let readOnlyMemory = KVMCapability("KVM_CAP_READONLY_MEM", KVM_CAP_READONLY_MEM)
    static let memorySlots = KVMCapability("KVM_CAP_NR_MEMSLOTS", KVM_CAP_NR_MEMSLOTS)
    static let vcpus = KVMCapability("KVM_CAP_MAX_VCPUS", KVM_CAP_MAX_VCPUS)
    static let vcpuID = KVMCapability("KVM_CAP_MAX_VCPU_ID", KVM_CAP_MAX_VCPU_ID)
}
