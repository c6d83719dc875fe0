// What it costs to leave the guest: the ticks that a number of accesses took.
#include "virtio.h"

// For registers of the serial port that do nothing: modem control with its usual value, and the line status.
enum { modem_control = 0x3fc, modem_ready = 0x0b, line_status = 0x3fd };

#define timed(name, access)                                                 \
    static void name(int count, const uint64_t *args) {                     \
        if (count < 1) return refuse("how often?");                         \
        uint64_t start = ticks();                                           \
        for (uint64_t i = 0; i < args[0]; i++) { access; }                  \
        answer(ticks() - start);                                            \
    }

timed(port_out, out8(modem_control, modem_ready))
timed(port_in, in8(line_status))
timed(memory_write, write32(devices[0].registers + reg_queue_select, 0))
timed(memory_read, read32(devices[0].registers + reg_status))
timed(kernel_read, read32(0xfee00020))
timed(notify, write32(devices[0].registers + reg_notify, 0))

const struct command exit_commands[] = {
    {"port-out", port_out}, {"port-in", port_in}, {"memory-write", memory_write}, {"memory-read", memory_read},
    {"kernel-read", kernel_read},  // the local APIC, which the kernel serves: what an exit costs that the monitor never sees
    {"notify", notify},            // of a queue in which there is nothing
    {0, 0},
};
