// The kernel's vhost interface (linux/vhost.h): request numbers that do not import, and errno captured before any Swift code runs.
// Every function returns 0 or -errno; what it reads goes through the pointer.
#ifndef C_VHOST_H
#define C_VHOST_H

#include <stdint.h>

struct cvhost_region {
    uint64_t guest_address;
    uint64_t size;
    uint64_t host_address;
};

long cvhost_set_owner(int fd);
long cvhost_get_features(int fd, uint64_t *_Nonnull features);
long cvhost_set_features(int fd, uint64_t features);
long cvhost_get_backend_features(int fd, uint64_t *_Nonnull features);
long cvhost_set_backend_features(int fd, uint64_t features);
// At most 64 regions (E2BIG).
long cvhost_set_memory(int fd, const struct cvhost_region *_Nullable regions, uint32_t count);
long cvhost_set_ring_size(int fd, uint32_t index, uint32_t size);
long cvhost_set_ring_base(int fd, uint32_t index, uint32_t base);
long cvhost_get_ring_base(int fd, uint32_t index, uint32_t *_Nonnull base);
long cvhost_set_ring_addresses(int fd, uint32_t index, uint64_t descriptors, uint64_t available, uint64_t used);
// -1 as the descriptor: none.
long cvhost_set_ring_kick(int fd, uint32_t index, int event);
long cvhost_set_ring_call(int fd, uint32_t index, int event);
long cvhost_set_ring_error(int fd, uint32_t index, int event);
// The tap of a pair's queue; -1 stops the queue.
long cvhost_net_set_backend(int fd, uint32_t index, int tap);
long cvhost_vsock_set_guest_cid(int fd, uint64_t cid);
long cvhost_vsock_set_running(int fd, int on);

#endif
