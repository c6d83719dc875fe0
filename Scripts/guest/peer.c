// peer ADDRESS PORT: connects to an IPv4 address, or to a vsock CID, or with ADDRESS "listen" waits for one vsock connection.
// What comes on stdin goes to the other side and what that sends to stdout; the end of one direction leaves the other open.
// With ADDRESS "echo" it takes any number of vsock connections at a time, and sends back what comes on each.
// With ADDRESS "udp:IP" one datagram of stdin goes there and one comes back; with "udp:0.0.0.0" one comes, and one goes back to its sender.
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static int fail(const char *what) { perror(what); return 1; }

// Copies once from one descriptor to the other; 0 at the end of input, -1 on an error.
static ssize_t copy(int from, int to) {
    static char buffer[256 << 10];
    ssize_t size = read(from, buffer, sizeof buffer);
    for (ssize_t done = 0, step; done < size; done += step)
        if ((step = write(to, buffer + done, size - done)) < 0) return -1;
    return size;
}

static int echo(int listener) {
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        if (peer < 0) return fail("accept");
        pid_t child = fork();
        if (child < 0) return fail("fork");
        if (child == 0) {
            ssize_t size;
            while ((size = copy(peer, peer)) > 0) {}
            _exit(size < 0 ? fail("echo") : 0);
        }
        close(peer);
    }
}

static int datagrams(const char *ip, unsigned port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)}, from;
    socklen_t size = sizeof from;
    int peer = socket(AF_INET, SOCK_DGRAM, 0);
    if (peer < 0 || inet_pton(AF_INET, ip, &in.sin_addr) != 1) return fail(ip);
    int waits = in.sin_addr.s_addr == INADDR_ANY;
    if (waits && (bind(peer, (struct sockaddr *)&in, sizeof in) < 0 || recvfrom(peer, NULL, 0, MSG_PEEK, (struct sockaddr *)&from, &size) < 0)) return fail(ip);
    if (connect(peer, (struct sockaddr *)(waits ? &from : &in), sizeof in) < 0) return fail(ip);
    return copy(waits ? peer : 0, waits ? 1 : peer) < 0 || copy(waits ? 0 : peer, waits ? peer : 1) < 0 ? fail(ip) : 0;
}

int main(int argc, char **argv) {
    if (argc != 3) { fprintf(stderr, "usage: peer IP|CID|listen|echo|udp:IP PORT\n"); return 2; }
    unsigned port = strtoul(argv[2], NULL, 0);
    if (strncmp(argv[1], "udp:", 4) == 0) return datagrams(argv[1] + 4, port);
    int echoes = strcmp(argv[1], "echo") == 0, listens = echoes || strcmp(argv[1], "listen") == 0, internet = strchr(argv[1], '.') != NULL;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_vm vm = {
        .svm_family = AF_VSOCK, .svm_port = port, .svm_cid = listens ? VMADDR_CID_ANY : strtoul(argv[1], NULL, 0),
    };
    int peer = socket(internet ? AF_INET : AF_VSOCK, SOCK_STREAM, 0);
    if (peer < 0) return fail("socket");
    if (listens) {
        if (bind(peer, (struct sockaddr *)&vm, sizeof vm) < 0 || listen(peer, echoes ? 64 : 1) < 0) return fail("listen");
        if (echoes) return echo(peer);
        int listener = peer;
        if ((peer = accept(listener, NULL, NULL)) < 0) return fail("accept");
        close(listener);
    } else {
        if (internet && inet_pton(AF_INET, argv[1], &in.sin_addr) != 1) return fail(argv[1]);
        if ((internet ? connect(peer, (struct sockaddr *)&in, sizeof in) : connect(peer, (struct sockaddr *)&vm, sizeof vm)) < 0)
            return fail("connect");
    }

    struct pollfd ends[] = {{.fd = 0, .events = POLLIN}, {.fd = peer, .events = POLLIN}};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
        if (poll(ends, 2, -1) < 0) return fail("poll");
        if (ends[0].fd >= 0 && ends[0].revents) {
            ssize_t size = copy(0, peer);
            if (size < 0) return fail("send");
            if (size == 0) { shutdown(peer, SHUT_WR); ends[0].fd = -1; }
        }
        if (ends[1].fd >= 0 && ends[1].revents) {
            ssize_t size = copy(peer, 1);
            if (size < 0) return fail("receive");
            if (size == 0) { close(1); ends[1].fd = -1; }
        }
    }
    return 0;
}
