#include "operations.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

long wire_open(const char *interface) {
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", interface);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file >= 0) {
        ssize_t ignored = write(file, "1", 1);
        (void)ignored;
        close(file);
    }
    // Protocol 0: it receives nothing.
    int wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (wire < 0) return -errno;
    struct ifreq request = {.ifr_flags = 0};
    strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
    if (ioctl(wire, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags |= IFF_UP;
        if (ioctl(wire, SIOCSIFFLAGS, &request) == 0 && bind(wire, (struct sockaddr *)&address, sizeof address) == 0) return wire;
    }
    int error = errno;
    close(wire);
    return -error;
}
