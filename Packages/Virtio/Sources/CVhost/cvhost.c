#include "cvhost.h"
#include <errno.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/ioctl.h>

static long control(int fd, unsigned long request, void *argument) { return ioctl(fd, request, argument) < 0 ? -(long)errno : 0; }

static long set_state(int fd, unsigned long request, uint32_t index, uint32_t value) {
    struct vhost_vring_state state = { .index = index, .num = value };
    return control(fd, request, &state);
}

static long set_file(int fd, unsigned long request, uint32_t index, int file) {
    struct vhost_vring_file argument = { .index = index, .fd = file };
    return control(fd, request, &argument);
}

long cvhost_set_owner(int fd) { return control(fd, VHOST_SET_OWNER, NULL); }

long cvhost_get_features(int fd, uint64_t *features) {
    __u64 value = 0;
    long result = control(fd, VHOST_GET_FEATURES, &value);
    *features = value;
    return result;
}

long cvhost_set_features(int fd, uint64_t features) {
    __u64 value = features;
    return control(fd, VHOST_SET_FEATURES, &value);
}

long cvhost_get_backend_features(int fd, uint64_t *features) {
    __u64 value = 0;
    long result = control(fd, VHOST_GET_BACKEND_FEATURES, &value);
    *features = value;
    return result;
}

long cvhost_set_backend_features(int fd, uint64_t features) {
    __u64 value = features;
    return control(fd, VHOST_SET_BACKEND_FEATURES, &value);
}

long cvhost_set_memory(int fd, const struct cvhost_region *regions, uint32_t count) {
    enum { LIMIT = 64 };
    union {
        struct vhost_memory table;
        char bytes[sizeof(struct vhost_memory) + LIMIT * sizeof(struct vhost_memory_region)];
    } argument;
    if (count > LIMIT) return -(long)E2BIG;
    memset(&argument, 0, sizeof argument);
    argument.table.nregions = count;
    for (uint32_t index = 0; index < count; index++) {
        argument.table.regions[index].guest_phys_addr = regions[index].guest_address;
        argument.table.regions[index].memory_size = regions[index].size;
        argument.table.regions[index].userspace_addr = regions[index].host_address;
    }
    return control(fd, VHOST_SET_MEM_TABLE, &argument);
}

long cvhost_set_ring_size(int fd, uint32_t index, uint32_t size) { return set_state(fd, VHOST_SET_VRING_NUM, index, size); }
long cvhost_set_ring_base(int fd, uint32_t index, uint32_t base) { return set_state(fd, VHOST_SET_VRING_BASE, index, base); }

long cvhost_get_ring_base(int fd, uint32_t index, uint32_t *base) {
    struct vhost_vring_state state = { .index = index };
    long result = control(fd, VHOST_GET_VRING_BASE, &state);
    *base = state.num;
    return result;
}

long cvhost_set_ring_addresses(int fd, uint32_t index, uint64_t descriptors, uint64_t available, uint64_t used) {
    struct vhost_vring_addr argument = { .index = index, .desc_user_addr = descriptors, .used_user_addr = used, .avail_user_addr = available };
    return control(fd, VHOST_SET_VRING_ADDR, &argument);
}

long cvhost_set_ring_kick(int fd, uint32_t index, int event) { return set_file(fd, VHOST_SET_VRING_KICK, index, event); }
long cvhost_set_ring_call(int fd, uint32_t index, int event) { return set_file(fd, VHOST_SET_VRING_CALL, index, event); }
long cvhost_set_ring_error(int fd, uint32_t index, int event) { return set_file(fd, VHOST_SET_VRING_ERR, index, event); }
long cvhost_net_set_backend(int fd, uint32_t index, int tap) { return set_file(fd, VHOST_NET_SET_BACKEND, index, tap); }

long cvhost_vsock_set_guest_cid(int fd, uint64_t cid) {
    __u64 value = cid;
    return control(fd, VHOST_VSOCK_SET_GUEST_CID, &value);
}

long cvhost_vsock_set_running(int fd, int on) {
    int value = on;
    return control(fd, VHOST_VSOCK_SET_RUNNING, &value);
}
