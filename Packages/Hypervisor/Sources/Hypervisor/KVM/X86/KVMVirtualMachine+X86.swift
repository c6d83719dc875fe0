#if arch(x86_64)
public import AddressSpace
internal import CKVM
internal import LinuxSys
internal import Synchronization

extension KVMCapability {
    static let requiredByArchitecture = [
        KVMCapability("KVM_CAP_SET_TSS_ADDR", KVM_CAP_SET_TSS_ADDR),
        KVMCapability("KVM_CAP_SET_IDENTITY_MAP_ADDR", KVM_CAP_SET_IDENTITY_MAP_ADDR),
        KVMCapability("KVM_CAP_EXT_CPUID", KVM_CAP_EXT_CPUID),
        KVMCapability("KVM_CAP_PIT2", KVM_CAP_PIT2),
    ]

    static let tscDeadlineTimer = KVMCapability("KVM_CAP_TSC_DEADLINE_TIMER", KVM_CAP_TSC_DEADLINE_TIMER)
}

/// Guest physical pages that KVM takes for itself on Intel hosts without unrestricted guest mode. The machine's memory map leaves them out.
public enum KVMReservedPages {
    /// One page (kernel Documentation/virt/kvm/api.rst 4.41).
    public static let identityMap: UInt64 = 0xFEF0_C000
    /// Three pages (4.35).
    public static let taskState: UInt64 = 0xFEF0_D000
}

/// What belongs to a machine on x86 only.
final class KVMArchitecture: Sendable {
    /// KVM_CREATE_VM's argument.
    let machineType: UInt = 0
    /// What KVM_GET_SUPPORTED_CPUID said: asked once, since the kernel takes 0.3 ms to answer.
    let cpuidCache = Mutex<[CPUIDEntry]?>(nil)
    /// Inputs of the I/O APIC. KVM's initial routing gives GSI n input n, for 0...15 also input n of the PIC.
    let interruptLineLimit: UInt32 = 24

    init(kvm: KVM) {}

    /// Since Linux 4.6 ids may be sparse; before that an id is bounded by the number of vCPUs.
    static func vcpuIDLimit(of kvm: KVM) -> Int {
        let limit = kvm.value(of: .vcpuID)
        return limit > 0 ? limit : kvm.value(of: .vcpus)
    }

    /// KVM_IRQ_LINE's number of an input.
    static func irqLine(gsi: UInt32) -> UInt32 { gsi }
}

extension KVMVirtualMachine {
    public func portListener() -> any AddressSpaceListener { KVMPortListener(machine: self) }

    /// KVM refuses the identity map page once there is a vCPU, and a vCPU on Intel hosts needs both.
    func prepareArchitecture() throws(HypervisorError) {
        try kvmCall("KVM_SET_IDENTITY_MAP_ADDR", ckvm_set_identity_map_addr(file.raw, KVMReservedPages.identityMap))
        try kvmCall("KVM_SET_TSS_ADDR", ckvm_set_tss_addr(file.raw, UInt(KVMReservedPages.taskState)))
    }

    /// PIC, I/O APIC, a local APIC for each vCPU to come, and the PIT with a speaker port that does nothing.
    ///
    /// The PIC starts masked, as firmware would leave it. KVM has all its inputs open with vectors from 0 on, while LINT0 of the first vCPU passes PIC
    /// interrupts: an edge on GSI 5 would be an exception 5. A kernel that uses the PIC initializes it, which opens the inputs (8259A datasheet, ICW1); one
    /// with hardware-reduced ACPI never touches it (Linux, null_legacy_pic), and kernels without "x86/apic: Soft disable APIC before initializing it" (5.4)
    /// leave LINT0 as it is.
    public func createIRQChip() throws(HypervisorError) {
        try kvmCall("KVM_CREATE_IRQCHIP", ckvm_create_irqchip(file.raw))
        try kvmCall("KVM_SET_IRQCHIP", ckvm_mask_pic(file.raw, UInt32(KVM_IRQCHIP_PIC_MASTER)))
        try kvmCall("KVM_SET_IRQCHIP", ckvm_mask_pic(file.raw, UInt32(KVM_IRQCHIP_PIC_SLAVE)))
        try kvmCall("KVM_CREATE_PIT2", ckvm_create_pit2(file.raw))
    }

    /// What KVM can give to a guest, with the host's brand string. Any thread.
    public func supportedCPUID() throws(HypervisorError) -> [CPUIDEntry] {
        if let cached = architecture.cpuidCache.withLock({ $0 }) { return cached }
        let capacity = Int(CKVM_CPUID_CAPACITY)
        var raw = Array(repeating: kvm_cpuid_entry2(), count: capacity)
        // SAFETY: the function writes at most `capacity` entries.
        let result = unsafe raw.withUnsafeMutableBufferPointer {
            unsafe ckvm_supported_cpuid(kvm.file.raw, $0.baseAddress, UInt32(truncatingIfNeeded: capacity))
        }
        let count = try kvmCall("KVM_GET_SUPPORTED_CPUID", result)
        let entries = raw.prefix(count).map { CPUIDEntry($0) }.withBrandString { leaf in
            let host = ckvm_host_cpuid(leaf, 0)
            return CPUIDEntry(function: leaf, eax: host.eax, ebx: host.ebx, ecx: host.ecx, edx: host.edx)
        }
        architecture.cpuidCache.withLock { $0 = entries }
        return entries
    }
}

extension CPUIDEntry {
    init(_ raw: kvm_cpuid_entry2) {
        self.init(
            function: raw.function, index: raw.index, indexIsSignificant: raw.flags & CPUIDEntry.significantIndex != 0,
            eax: raw.eax, ebx: raw.ebx, ecx: raw.ecx, edx: raw.edx)
    }

    var raw: kvm_cpuid_entry2 {
        kvm_cpuid_entry2(
            function: function, index: index, flags: indexIsSignificant ? CPUIDEntry.significantIndex : 0,
            eax: eax, ebx: ebx, ecx: ecx, edx: edx, padding: (0, 0, 0))
    }

    /// KVM_CPUID_FLAG_SIGNIFCANT_INDEX.
    private static let significantIndex: UInt32 = 1
}
#endif
