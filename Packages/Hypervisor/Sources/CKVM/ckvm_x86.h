// The x86 part of the KVM API.
#pragma once
#include <cpuid.h>

static inline long ckvm_set_tss_addr(int vm, unsigned long address) { return ckvm_number(vm, KVM_SET_TSS_ADDR, address); }
static inline long ckvm_set_identity_map_addr(int vm, uint64_t address) { return ckvm_pointer(vm, KVM_SET_IDENTITY_MAP_ADDR, &address); }
static inline long ckvm_create_irqchip(int vm) { return ckvm_number(vm, KVM_CREATE_IRQCHIP, 0); }

// Masks all inputs of one PIC (`chip`: KVM_IRQCHIP_PIC_MASTER or KVM_IRQCHIP_PIC_SLAVE).
static inline long ckvm_mask_pic(int vm, uint32_t chip) {
    struct kvm_irqchip state = { .chip_id = chip };
    long result = ckvm_pointer(vm, KVM_GET_IRQCHIP, &state);
    if (result < 0) return result;
    state.chip.pic.imr = 0xff;
    return ckvm_pointer(vm, KVM_SET_IRQCHIP, &state);
}

// KVM_PIT_SPEAKER_DUMMY: KVM answers port 0x61 itself.
static inline long ckvm_create_pit2(int vm) {
    struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
    return ckvm_pointer(vm, KVM_CREATE_PIT2, &config);
}

enum { CKVM_CPUID_CAPACITY = 256, CKVM_MSR_CAPACITY = 64 };

// struct kvm_cpuid2 and struct kvm_msrs with room for their flexible arrays.
struct ckvm_cpuid_list { uint32_t count, padding; struct kvm_cpuid_entry2 entries[CKVM_CPUID_CAPACITY]; };
struct ckvm_msr_list { uint32_t count, padding; struct kvm_msr_entry entries[CKVM_MSR_CAPACITY]; };
_Static_assert(offsetof(struct ckvm_cpuid_list, entries) == sizeof(struct kvm_cpuid2), "layout of struct kvm_cpuid2");
_Static_assert(offsetof(struct ckvm_msr_list, entries) == sizeof(struct kvm_msrs), "layout of struct kvm_msrs");

// Writes at most `capacity` entries; their number, or -errno (E2BIG: more than `capacity`).
static inline long ckvm_supported_cpuid(int kvm, struct kvm_cpuid_entry2 *entries, uint32_t capacity) {
    struct ckvm_cpuid_list list;
    list.count = CKVM_CPUID_CAPACITY;
    list.padding = 0;
    long result = ckvm_pointer(kvm, KVM_GET_SUPPORTED_CPUID, &list);
    if (result < 0) return result;
    if (list.count > capacity || list.count > CKVM_CPUID_CAPACITY) return -E2BIG;
    memcpy(entries, list.entries, list.count * sizeof *entries);
    return (long)list.count;
}

static inline long ckvm_set_cpuid2(int vcpu, const struct kvm_cpuid_entry2 *entries, uint32_t count) {
    if (count > CKVM_CPUID_CAPACITY) return -E2BIG;
    struct ckvm_cpuid_list list;
    list.count = count;
    list.padding = 0;
    memcpy(list.entries, entries, count * sizeof *entries);
    return ckvm_pointer(vcpu, KVM_SET_CPUID2, &list);
}

// The number of MSRs that were set: KVM stops at the first it refuses.
static inline long ckvm_set_msrs(int vcpu, const struct kvm_msr_entry *entries, uint32_t count) {
    if (count > CKVM_MSR_CAPACITY) return -E2BIG;
    struct ckvm_msr_list list;
    list.count = count;
    list.padding = 0;
    memcpy(list.entries, entries, count * sizeof *entries);
    return ckvm_pointer(vcpu, KVM_SET_MSRS, &list);
}

static inline long ckvm_get_msr(int vcpu, uint32_t index, uint64_t *value) {
    struct ckvm_msr_list list = { .count = 1, .entries = {{ .index = index }} };
    long result = ckvm_pointer(vcpu, KVM_GET_MSRS, &list);
    if (result < 0) return result;
    if (result != 1) return -EINVAL;
    *value = list.entries[0].data;
    return 0;
}

static inline long ckvm_get_regs(int vcpu, struct kvm_regs *regs) { return ckvm_pointer(vcpu, KVM_GET_REGS, regs); }
static inline long ckvm_set_regs(int vcpu, const struct kvm_regs *regs) { return ckvm_pointer(vcpu, KVM_SET_REGS, regs); }
static inline long ckvm_get_sregs(int vcpu, struct kvm_sregs *sregs) { return ckvm_pointer(vcpu, KVM_GET_SREGS, sregs); }
static inline long ckvm_set_sregs(int vcpu, const struct kvm_sregs *sregs) { return ckvm_pointer(vcpu, KVM_SET_SREGS, sregs); }
static inline void ckvm_sregs_clear_pending_interrupt(struct kvm_sregs *sregs) {
    memset(sregs->interrupt_bitmap, 0, sizeof sregs->interrupt_bitmap);
}

static inline long ckvm_set_fpu_control(int vcpu, uint16_t fcw, uint32_t mxcsr) {
    struct kvm_fpu fpu;
    memset(&fpu, 0, sizeof fpu);
    fpu.fcw = fcw;
    fpu.mxcsr = mxcsr;
    return ckvm_pointer(vcpu, KVM_SET_FPU, &fpu);
}

// The two LINT entries of the local vector table (Intel SDM vol. 3, table 11-1: offsets 0x350 and 0x360).
static inline long ckvm_get_lint(int vcpu, uint32_t *lint0, uint32_t *lint1) {
    struct kvm_lapic_state state;
    long result = ckvm_pointer(vcpu, KVM_GET_LAPIC, &state);
    if (result < 0) return result;
    memcpy(lint0, state.regs + 0x350, sizeof *lint0);
    memcpy(lint1, state.regs + 0x360, sizeof *lint1);
    return 0;
}
static inline long ckvm_set_lint(int vcpu, uint32_t lint0, uint32_t lint1) {
    struct kvm_lapic_state state;
    long result = ckvm_pointer(vcpu, KVM_GET_LAPIC, &state);
    if (result < 0) return result;
    memcpy(state.regs + 0x350, &lint0, sizeof lint0);
    memcpy(state.regs + 0x360, &lint1, sizeof lint1);
    return ckvm_pointer(vcpu, KVM_SET_LAPIC, &state);
}

struct ckvm_cpuid_result { uint32_t eax, ebx, ecx, edx; };
static inline struct ckvm_cpuid_result ckvm_host_cpuid(uint32_t leaf, uint32_t subleaf) {
    struct ckvm_cpuid_result r;
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}
