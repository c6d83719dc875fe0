// What tests need of the host's network, as root: a tap as somebody else would make it, an interface that is up, and a socket on it.
// Every function returns a descriptor or 0, or -errno.
#ifndef C_NET_TEST_H
#define C_NET_TEST_H

// A tun or tap of /dev/net/tun; flags as in linux/if_tun.h.
int nettest_tap(const char *_Nonnull name, int flags);
int nettest_has_interface(const char *_Nonnull name);
// Up, without IPv6, so that nothing but the test speaks on it.
int nettest_up(const char *_Nonnull name);
int nettest_down(const char *_Nonnull name);
// Sees all frames that come from the tap's side, and sends to it. Non-blocking.
int nettest_socket(const char *_Nonnull name);


// How often the calling thread has called malloc(3) so far; -1 where it cannot be counted.
long nettest_allocations(void);

#endif
