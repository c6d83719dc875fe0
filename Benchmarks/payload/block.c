// Disks: random and sequential requests with a number of them in flight, and GET_ID, which costs a disk nothing.
#include "virtio.h"

enum { request_read = 0, request_write = 1, request_get_id = 8 };
enum { feature_flush = 9 };  // without it a monitor has to make each write stable before it ends
enum { depth_limit = 64, length_limit = 128 << 10, sector = 512 };

struct request {
    struct descriptor table[3];
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    uint8_t status;
} __attribute__((aligned(64)));

static struct queue queue;
static struct request requests[depth_limit];
static uint64_t sectors;
// Alone in its huge pages, as most of a guest's memory is: what is loaded with the payload has small ones or huge ones, as the monitor loads it.
static uint8_t data[depth_limit][length_limit] __attribute__((aligned(2 << 20)));

// block-start DEVICE INTERRUPTS: answers with the disk's number of bytes.
static void command_start(int count, const uint64_t *args) {
    struct device *device = count == 2 ? device_at(args[0], type_block) : 0;
    uint64_t agreed;
    if (!device) return;
    if (!start_device(device, 1ull << feature_flush, &agreed) || !start_queue(&queue, device, 0, queue_size_limit)) return refuse("the disk does not start");
    if (!(agreed & 1ull << feature_indirect)) return refuse("no indirect descriptors");
    queue.wants_interrupts = args[1];
    finish_device(device);
    sectors = read32(device->registers + reg_config) | (uint64_t)read32(device->registers + reg_config + 4) << 32;
    for (size_t i = 0; i < sizeof data; i += 8) *(uint64_t *)((uint8_t *)data + i) = i * 0x9e3779b97f4a7c15;
    for (uint16_t i = 0; i < depth_limit; i++) {
        queue.descriptors[i] = (struct descriptor){(uint64_t)requests[i].table, sizeof requests[i].table, descriptor_indirect, 0};
        requests[i].table[0] = (struct descriptor){(uint64_t)&requests[i].header, 16, descriptor_next, 1};
        requests[i].table[2] = (struct descriptor){(uint64_t)&requests[i].status, 1, descriptor_write, 0};
    }
    answer(sectors * sector);
}

static void prepare(uint16_t slot, uint32_t type, uint64_t at, uint32_t length) {
    struct request *request = &requests[slot];
    request->header.type = type;
    request->header.sector = at;
    request->status = 0xff;
    uint16_t direction = type == request_write ? 0 : descriptor_write;
    request->table[1] = (struct descriptor){(uint64_t)data[slot], length, descriptor_next | direction, 2};
    offer(&queue, slot);
}

// Places of requests, at `step` sectors: one after the other, or anywhere (xorshift64*).
struct places {
    uint64_t count, step, next, seed;
    bool is_random;
};

static uint64_t next_place(struct places *places) {
    if (!places->is_random) return places->next++ % places->count * places->step;
    places->seed ^= places->seed >> 12;
    places->seed ^= places->seed << 25;
    places->seed ^= places->seed >> 27;
    return ((places->seed * 0x2545f4914f6cdd1d >> 32) * places->count >> 32) * places->step;
}

// block WRITE RANDOM LENGTH DEPTH TICKS SEED: begins, and makes as many requests as end in that time; answers with their number and the ticks they took.
static void command_block(int count, const uint64_t *args) {
    if (count != 6 || !queue.size || args[2] % sector || !args[2] || args[2] > length_limit || !args[3] || args[3] > depth_limit) return refuse("bad arguments");
    uint32_t type = args[0] ? request_write : request_read, length = (uint32_t)args[2];
    struct places places = {sectors / (length / sector), length / sector, 0, args[5] | 1, args[1]};
    uint16_t depth = (uint16_t)args[3], in_flight = 0;
    begin();
    uint64_t done = 0, failed = 0, start = ticks(), now = start;
    rearm(&queue);
    for (uint16_t slot = 0; slot < depth; slot++, in_flight++) prepare(slot, type, next_place(&places), length);
    publish(&queue);
    while (in_flight) {
        uint16_t slot;
        uint32_t written;
        bool any = false;
        while (take(&queue, &slot, &written)) {
            any = true;
            done++;
            failed += requests[slot].status != 0;
            if (now - start < args[4]) prepare(slot, type, next_place(&places), length);
            else in_flight--;
        }
        if (any) {
            rearm(&queue);
            publish(&queue);
            now = ticks();
        } else {
            relax();
        }
    }
    uint64_t took = ticks() - start;
    if (failed) return refuse("requests failed");
    answer(done);
    answer(took);
}

static void get_id(void) {
    uint16_t slot;
    uint32_t written;
    prepare(0, request_get_id, 0, 20);
    publish(&queue);
    while (!take(&queue, &slot, &written)) relax();
    rearm(&queue);
}

// block-id COUNT: the ticks that so many requests took whose answer the monitor knows, one after the other.
static void command_id(int count, const uint64_t *args) {
    if (count != 1 || !queue.size) return refuse("bad arguments");
    rearm(&queue);
    uint64_t start = ticks();
    for (uint64_t i = 0; i < args[0]; i++) get_id();
    answer(ticks() - start);
    if (requests[0].status) refuse("GET_ID failed");
}

// block-interrupt COUNT: for each of at most 200 such requests the ticks until its interrupt stands in the local APIC. Once a boot: the vectors are used up,
// since no interrupt is ever taken. The I/O APIC gives the device a vector after the other; the task priority holds all of them back.
static void command_interrupt(int count, const uint64_t *args) {
    enum { local_apic = 0xfee00000, io_apic = 0xfec00000, first_vector = 32, last_vector = 231 };
    static uint64_t vector = first_vector;
    if (count != 1 || !queue.size || args[0] > last_vector + 1 - vector) return refuse("bad arguments");
    struct device *device = queue.device;
    uint64_t seen[200];
    write32(local_apic + 0x80, 0xff);
    write32(local_apic + 0xf0, 0x1ff);
    bool wanted = queue.wants_interrupts;
    queue.wants_interrupts = true;
    rearm(&queue);
    for (uint64_t i = 0; i < args[0]; i++, vector++) {
        write32(io_apic, 0x11 + 2 * device->interrupt);
        write32(io_apic + 0x10, 0);
        write32(io_apic, 0x10 + 2 * device->interrupt);
        write32(io_apic + 0x10, (uint32_t)vector);
        uint64_t start = ticks(), request = local_apic + 0x200 + vector / 32 * 16;
        prepare(0, request_get_id, 0, 20);
        publish(&queue);
        while (!(read32(request) & 1u << vector % 32)) {}
        seen[i] = ticks() - start;
        uint16_t slot;
        uint32_t written;
        while (!take(&queue, &slot, &written)) relax();
        rearm(&queue);
        write32(device->registers + reg_interrupt_acknowledge, read32(device->registers + reg_interrupt_status));
    }
    queue.wants_interrupts = wanted;
    for (uint64_t i = 0; i < args[0]; i++) answer(seen[i]);
}

const struct command block_commands[] = {
    {"block-start", command_start}, {"block", command_block}, {"block-id", command_id}, {"block-interrupt", command_interrupt}, {0, 0},
};
