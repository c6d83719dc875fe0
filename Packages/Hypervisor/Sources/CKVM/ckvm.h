// The KVM API (kernel Documentation/virt/kvm/api.rst) as typed inline functions. Each returns the ioctl's result, or -errno: errno is read here,
// before ARC or the allocator can change it. Structures with flexible arrays or unions stay on this side.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static inline long ckvm_result(long result) { return result < 0 ? -(long)errno : result; }
static inline long ckvm_number(int fd, unsigned long request, unsigned long argument) { return ckvm_result(ioctl(fd, request, argument)); }
static inline long ckvm_pointer(int fd, unsigned long request, const void *argument) { return ckvm_result(ioctl(fd, request, argument)); }

static inline long ckvm_page_size(void) { return sysconf(_SC_PAGESIZE); }

// System.
static inline long ckvm_api_version(int kvm) { return ckvm_number(kvm, KVM_GET_API_VERSION, 0); }
static inline long ckvm_check_extension(int kvm, long capability) { return ckvm_number(kvm, KVM_CHECK_EXTENSION, (unsigned long)capability); }
static inline long ckvm_create_vm(int kvm, unsigned long type) { return ckvm_number(kvm, KVM_CREATE_VM, type); }
static inline long ckvm_vcpu_mmap_size(int kvm) { return ckvm_number(kvm, KVM_GET_VCPU_MMAP_SIZE, 0); }

// Virtual machine.
static inline long ckvm_create_vcpu(int vm, uint32_t id) { return ckvm_number(vm, KVM_CREATE_VCPU, id); }

static inline long ckvm_set_memory(int vm, uint32_t slot, uint32_t flags, uint64_t guest, uint64_t size, uint64_t host) {
    struct kvm_userspace_memory_region region = {
        .slot = slot, .flags = flags, .guest_phys_addr = guest, .memory_size = size, .userspace_addr = host,
    };
    return ckvm_pointer(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static inline long ckvm_ioeventfd(int vm, uint64_t address, uint32_t length, int event, uint64_t datamatch, uint32_t flags) {
    struct kvm_ioeventfd request = { .datamatch = datamatch, .addr = address, .len = length, .fd = event, .flags = flags };
    return ckvm_pointer(vm, KVM_IOEVENTFD, &request);
}

static inline long ckvm_irqfd(int vm, uint32_t gsi, int event, uint32_t flags) {
    struct kvm_irqfd request = { .fd = (uint32_t)event, .gsi = gsi, .flags = flags };
    return ckvm_pointer(vm, KVM_IRQFD, &request);
}

static inline long ckvm_irq_line(int vm, uint32_t irq, uint32_t level) {
    struct kvm_irq_level request = { .irq = irq, .level = level };
    return ckvm_pointer(vm, KVM_IRQ_LINE, &request);
}

// vCPU.
static inline long ckvm_run(int vcpu) { return ckvm_number(vcpu, KVM_RUN, 0); }

static inline long ckvm_set_mp_state(int vcpu, uint32_t state) {
    struct kvm_mp_state value = { .mp_state = state };
    return ckvm_pointer(vcpu, KVM_SET_MP_STATE, &value);
}

static inline long ckvm_get_mp_state(int vcpu) {
    struct kvm_mp_state value;
    long result = ckvm_pointer(vcpu, KVM_GET_MP_STATE, &value);
    return result < 0 ? result : (long)value.mp_state;
}

// Statistics (4.133). The kernel gives the descriptor without close-on-exec.
static inline long ckvm_statistics(int file) {
    long result = ckvm_number(file, KVM_GET_STATS_FD, 0);
    if (result >= 0) fcntl((int)result, F_SETFD, FD_CLOEXEC);
    return result;
}
static inline size_t ckvm_statistics_header_size(void) { return sizeof(struct kvm_stats_header); }
static inline struct kvm_stats_header ckvm_statistics_header_copy(const void *bytes) {
    struct kvm_stats_header header;
    memcpy(&header, bytes, sizeof header);
    return header;
}
// struct kvm_stats_desc without the name that follows it.
struct ckvm_statistics_descriptor { uint32_t flags; int16_t exponent; uint16_t size; uint32_t offset; uint32_t bucket_size; };
static inline size_t ckvm_statistics_descriptor_size(void) { return offsetof(struct kvm_stats_desc, name); }
static inline struct ckvm_statistics_descriptor ckvm_statistics_descriptor_copy(const void *bytes) {
    struct ckvm_statistics_descriptor descriptor;
    memcpy(&descriptor, bytes, sizeof descriptor);
    return descriptor;
}
_Static_assert(sizeof(struct ckvm_statistics_descriptor) == offsetof(struct kvm_stats_desc, name), "struct kvm_stats_desc");

// struct kvm_run, a page that KVM shares with us: the kernel writes it during KVM_RUN, on the thread that reads it afterwards.
static inline long ckvm_map_run(int vcpu, size_t size, void **run) {
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (address == MAP_FAILED) return -(long)errno;
    *run = address;
    return 0;
}
static inline void ckvm_unmap_run(void *run, size_t size) { munmap(run, size); }
static inline size_t ckvm_run_structure_size(void) { return sizeof(struct kvm_run); }

static inline uint8_t *ckvm_run_immediate_exit(void *run) { return &((struct kvm_run *)run)->immediate_exit; }
static inline void ckvm_run_set_immediate_exit(void *run, uint8_t value) {
    __atomic_store_n(&((struct kvm_run *)run)->immediate_exit, value, __ATOMIC_SEQ_CST);
}
static inline uint32_t ckvm_run_exit_reason(const void *run) { return ((const struct kvm_run *)run)->exit_reason; }

struct ckvm_port_exit { uint64_t data_offset; uint32_t count; uint16_t port; uint8_t size; uint8_t is_out; };
static inline struct ckvm_port_exit ckvm_run_port(const void *run) {
    const struct kvm_run *r = run;
    return (struct ckvm_port_exit){
        .data_offset = r->io.data_offset, .count = r->io.count, .port = r->io.port, .size = r->io.size,
        .is_out = r->io.direction == KVM_EXIT_IO_OUT,
    };
}

struct ckvm_mmio_exit { uint64_t address; uint64_t value; uint32_t length; uint8_t is_write; };
static inline struct ckvm_mmio_exit ckvm_run_mmio(const void *run) {
    const struct kvm_run *r = run;
    struct ckvm_mmio_exit out = { .address = r->mmio.phys_addr, .length = r->mmio.len, .is_write = r->mmio.is_write };
    memcpy(&out.value, r->mmio.data, sizeof out.value);
    return out;
}
static inline void ckvm_run_set_mmio(void *run, uint64_t value) { memcpy(((struct kvm_run *)run)->mmio.data, &value, sizeof value); }

// One item of a port access, `size` being 1, 2 or 4; the caller has checked offset + size against the mapping.
static inline uint32_t ckvm_run_load(const void *run, size_t offset, uint32_t size) {
    uint32_t value = 0;
    memcpy(&value, (const char *)run + offset, size <= sizeof value ? size : sizeof value);
    return value;
}
static inline void ckvm_run_store(void *run, size_t offset, uint32_t size, uint32_t value) {
    memcpy((char *)run + offset, &value, size <= sizeof value ? size : sizeof value);
}

static inline uint64_t ckvm_run_fail_reason(const void *run) { return ((const struct kvm_run *)run)->fail_entry.hardware_entry_failure_reason; }
static inline uint32_t ckvm_run_suberror(const void *run) { return ((const struct kvm_run *)run)->internal.suberror; }
static inline uint32_t ckvm_run_event_type(const void *run) { return ((const struct kvm_run *)run)->system_event.type; }

// Copies the bytes of the instruction that KVM could not emulate; their number, 0 when KVM did not tell.
static inline uint32_t ckvm_run_failed_instruction(const void *run, uint8_t bytes[15]) {
    const struct kvm_run *r = run;
    if (r->exit_reason != KVM_EXIT_INTERNAL_ERROR || r->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) return 0;
    if (r->emulation_failure.ndata < 3 || !(r->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) return 0;
    uint32_t count = r->emulation_failure.insn_size;
    if (count > 15) count = 15;
    memcpy(bytes, r->emulation_failure.insn_bytes, count);
    return count;
}

#if defined(__x86_64__)
#include "ckvm_x86.h"
#elif defined(__aarch64__)
#include "ckvm_aarch64.h"
#endif
