// The aarch64 part of the KVM API.
#pragma once

static inline long ckvm_enable_nisv_exits(int vm) {
    struct kvm_enable_cap request = { .cap = KVM_CAP_ARM_NISV_TO_USER };
    return ckvm_pointer(vm, KVM_ENABLE_CAP, &request);
}

// The descriptor of a new device, closed on exec, or -errno. The device itself lives as long as the machine.
static inline long ckvm_create_device(int vm, uint32_t type) {
    struct kvm_create_device request = { .type = type };
    long result = ckvm_pointer(vm, KVM_CREATE_DEVICE, &request);
    return result < 0 ? result : (long)request.fd;
}

// A device's or a vCPU's attribute; the kernel reads four or eight bytes of `value`, by the attribute.
static inline long ckvm_set_attribute(int file, uint32_t group, uint64_t attribute, const void *value) {
    struct kvm_device_attr request = { .group = group, .attr = attribute, .addr = (uint64_t)(uintptr_t)value };
    return ckvm_pointer(file, KVM_SET_DEVICE_ATTR, &request);
}
static inline long ckvm_set_attribute_none(int file, uint32_t group, uint64_t attribute) {
    return ckvm_set_attribute(file, group, attribute, NULL);
}
static inline long ckvm_set_attribute_32(int file, uint32_t group, uint64_t attribute, uint32_t value) {
    return ckvm_set_attribute(file, group, attribute, &value);
}
static inline long ckvm_set_attribute_64(int file, uint32_t group, uint64_t attribute, uint64_t value) {
    return ckvm_set_attribute(file, group, attribute, &value);
}
static inline long ckvm_has_attribute(int file, uint32_t group, uint64_t attribute) {
    struct kvm_device_attr request = { .group = group, .attr = attribute };
    return ckvm_pointer(file, KVM_HAS_DEVICE_ATTR, &request);
}

// The kind of vCPU that is the host's own (struct kvm_vcpu_init.target), or -errno.
static inline long ckvm_preferred_target(int vm) {
    struct kvm_vcpu_init init;
    long result = ckvm_pointer(vm, KVM_ARM_PREFERRED_TARGET, &init);
    return result < 0 ? result : (long)init.target;
}
static inline long ckvm_vcpu_init(int vcpu, uint32_t target, uint32_t features) {
    struct kvm_vcpu_init init = { .target = target, .features = { features } };
    return ckvm_pointer(vcpu, KVM_ARM_VCPU_INIT, &init);
}
static inline long ckvm_vcpu_finalize(int vcpu, int feature) { return ckvm_pointer(vcpu, KVM_ARM_VCPU_FINALIZE, &feature); }

// Registers of 64 bits.
static inline long ckvm_get_register(int vcpu, uint64_t id, uint64_t *value) {
    if ((id & KVM_REG_SIZE_MASK) != KVM_REG_SIZE_U64) return -EINVAL;
    struct kvm_one_reg request = { .id = id, .addr = (uint64_t)(uintptr_t)value };
    return ckvm_pointer(vcpu, KVM_GET_ONE_REG, &request);
}
static inline long ckvm_set_register(int vcpu, uint64_t id, uint64_t value) {
    if ((id & KVM_REG_SIZE_MASK) != KVM_REG_SIZE_U64) return -EINVAL;
    struct kvm_one_reg request = { .id = id, .addr = (uint64_t)(uintptr_t)&value };
    return ckvm_pointer(vcpu, KVM_SET_ONE_REG, &request);
}

// Where an instruction that the processor does not describe wanted to go (KVM_EXIT_ARM_NISV).
struct ckvm_nisv_exit { uint64_t syndrome; uint64_t address; };
static inline struct ckvm_nisv_exit ckvm_run_nisv(const void *run) {
    const struct kvm_run *r = run;
    return (struct ckvm_nisv_exit){ .syndrome = r->arm_nisv.esr_iss, .address = r->arm_nisv.fault_ipa };
}

// The numbers that Hypervisor/AArch64 has as plain data, since that compiles where these headers are not.
#define CKVM_CORE_ID(register) (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(register))
_Static_assert(CKVM_CORE_ID(regs.regs[0]) == 0x6030000000100000 && CKVM_CORE_ID(regs.regs[30]) == 0x603000000010003c
               && CKVM_CORE_ID(regs.sp) == 0x603000000010003e && CKVM_CORE_ID(regs.pc) == 0x6030000000100040
               && CKVM_CORE_ID(regs.pstate) == 0x6030000000100042, "AArch64Register");
_Static_assert(ARM64_SYS_REG(3, 0, 0, 0, 5) == 0x603000000013c005 && KVM_REG_ARM_TIMER_CNT == 0x603000000013df1a, "AArch64Register");
_Static_assert(KVM_DEV_ARM_VGIC_GRP_ADDR == 0 && KVM_DEV_ARM_VGIC_GRP_NR_IRQS == 3 && KVM_DEV_ARM_VGIC_GRP_CTRL == 4
               && KVM_DEV_ARM_VGIC_CTRL_INIT == 0, "KVMDeviceAttribute");
_Static_assert(KVM_VGIC_V2_ADDR_TYPE_DIST == 0 && KVM_VGIC_V2_ADDR_TYPE_CPU == 1 && KVM_VGIC_V3_ADDR_TYPE_DIST == 2
               && KVM_VGIC_V3_ADDR_TYPE_REDIST == 3 && KVM_VGIC_ITS_ADDR_TYPE == 4 && KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION == 5,
               "KVMDeviceAttribute");
_Static_assert(KVM_ARM_VCPU_PMU_V3_CTRL == 0 && KVM_ARM_VCPU_PMU_V3_IRQ == 0 && KVM_ARM_VCPU_PMU_V3_INIT == 1
               && KVM_ARM_VCPU_PVTIME_CTRL == 2 && KVM_ARM_VCPU_PVTIME_IPA == 0, "KVMDeviceAttribute");
_Static_assert(KVM_ARM_VCPU_POWER_OFF == 0 && KVM_ARM_VCPU_PSCI_0_2 == 2 && KVM_ARM_VCPU_PMU_V3 == 3 && KVM_ARM_VCPU_SVE == 4,
               "AArch64Numbers");
_Static_assert(KVM_ARM_IRQ_TYPE_SPI == 1 && KVM_ARM_IRQ_TYPE_SHIFT == 24 && KVM_ARM_IRQ_NUM_SHIFT == 0 && KVM_ARM_IRQ_NUM_MASK == 0xffff,
               "AArch64Numbers");

// The guest's last instruction ends in an external data abort; nothing else of the vCPU's events is touched.
static inline long ckvm_inject_data_abort(int vcpu) {
    struct kvm_vcpu_events events;
    memset(&events, 0, sizeof events);
    events.exception.ext_dabt_pending = 1;
    return ckvm_pointer(vcpu, KVM_SET_VCPU_EVENTS, &events);
}
