// Network devices: frames sent as fast as they are taken, and frames received into mergeable buffers. Frames are of TCP; a long one has segments that the
// device's back end is to make, or made one of (TSO).
#include "virtio.h"

enum { feature_checksum = 0, feature_guest_checksum = 1, feature_guest_tso4 = 7, feature_host_tso4 = 11, feature_mergeable = 15 };
enum { needs_checksum = 1, gso_none = 0, gso_tcp4 = 1 };
enum { header_size = 12, headers = 14 + 20 + 20, segment = 1448, page = 4096, frame_limit = 64 << 10 };
enum { piece_limit = 1 + frame_limit / page };

struct header {
    uint8_t flags, gso_type;
    uint16_t header_length, gso_size, checksum_start, checksum_offset, buffers;
};

struct outgoing {
    struct descriptor table[piece_limit + 1];
    uint8_t start[128];  // both headers of a frame with segments
} __attribute__((aligned(64)));

static struct queue receive, transmit;
static struct outgoing outgoing[queue_size_limit];
// What the frames carry, or, when they are received, what they are put in.
static uint8_t data[queue_size_limit][frame_limit] __attribute__((aligned(page)));
static uint16_t given;  // receive buffers that the device has

static struct header header_of(uint32_t length) {
    if (length <= headers + segment) return (struct header){0};
    return (struct header){needs_checksum, gso_tcp4, headers, segment, 14 + 20, 16, 0};
}

// A TCP segment over IPv4 from 10.0.0.2 to 10.0.0.1, for a station that is not there.
static void write_headers(uint8_t *frame, uint32_t length) {
    static const uint8_t ethernet[14] = {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 8, 0};
    static const uint8_t network[20] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1};
    static const uint8_t transport[20] = {0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x10};
    memcpy(frame, ethernet, 14);
    memcpy(frame + 14, network, 20);
    memcpy(frame + 34, transport, 20);
    frame[16] = (uint8_t)((length - 14) >> 8);
    frame[17] = (uint8_t)(length - 14);
    uint32_t sum = 0;
    for (int i = 14; i < 34; i += 2) sum += (uint32_t)frame[i] << 8 | frame[i + 1];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    frame[24] = (uint8_t)(~sum >> 8);
    frame[25] = (uint8_t)~sum;
}

// net-start DEVICE: answers with 1 when frames with segments can be sent and received, else 0.
static void command_start(int count, const uint64_t *args) {
    struct device *device = count == 1 ? device_at(args[0], type_net) : 0;
    uint64_t agreed, large = 1ull << feature_checksum | 1ull << feature_guest_checksum | 1ull << feature_guest_tso4 | 1ull << feature_host_tso4;
    if (!device) return;
    if (!start_device(device, large | 1ull << feature_mergeable, &agreed) || !start_queue(&receive, device, 0, queue_size_limit) ||
        !start_queue(&transmit, device, 1, queue_size_limit) || !(agreed & 1ull << feature_mergeable) || !(agreed & 1ull << feature_indirect))
        return refuse("the device does not start");
    finish_device(device);
    given = 0;
    for (size_t i = 0; i < sizeof data; i += 8) *(uint64_t *)((uint8_t *)data + i) = i * 0x9e3779b97f4a7c15;
    answer((agreed & large) == large);
}

// As Linux lays out a frame: one piece, or the headers in one and what follows in pages.
static void prepare(uint16_t slot, uint32_t length) {
    struct outgoing *frame = &outgoing[slot];
    struct header *header = (struct header *)(length > page ? frame->start : data[slot]);
    *header = header_of(length);
    write_headers((uint8_t *)header + header_size, length);
    if (length <= page) {
        transmit.descriptors[slot] = (struct descriptor){(uint64_t)header, header_size + length, 0, 0};
        return;
    }
    frame->table[0] = (struct descriptor){(uint64_t)header, header_size + headers, descriptor_next, 1};
    uint32_t left = length - headers;
    uint16_t last = 0;
    for (uint16_t piece = 0; left; piece++) {
        uint32_t size = left < page ? left : page;
        last = piece + 1;
        frame->table[last] = (struct descriptor){(uint64_t)data[slot] + piece * page, size, descriptor_next, (uint16_t)(last + 1)};
        left -= size;
    }
    frame->table[last].flags = 0;
    transmit.descriptors[slot] = (struct descriptor){(uint64_t)frame->table, (last + 1u) * sizeof(struct descriptor), descriptor_indirect, 0};
}

// net-send LENGTH TICKS: begins, and sends frames for that time, the queue always full; answers with their number and the ticks until the last was taken.
static void command_send(int count, const uint64_t *args) {
    if (count != 2 || !transmit.size || args[0] < headers || args[0] > frame_limit) return refuse("bad arguments");
    for (uint16_t slot = 0; slot < transmit.size; slot++) prepare(slot, (uint32_t)args[0]);
    begin();
    uint64_t done = 0, start = ticks(), now = start;
    uint16_t in_flight = transmit.size;
    rearm(&transmit);
    for (uint16_t slot = 0; slot < transmit.size; slot++) offer(&transmit, slot);
    publish(&transmit);
    while (in_flight) {
        uint16_t slot;
        uint32_t written;
        bool any = false;
        while (take(&transmit, &slot, &written)) {
            any = true;
            done++;
            if (now - start < args[1]) offer(&transmit, slot);
            else in_flight--;
        }
        if (any) {
            rearm(&transmit);
            publish(&transmit);
            now = ticks();
        } else {
            relax();
        }
    }
    answer(done);
    answer(ticks() - start);
}

// net-receive COUNT LENGTH BUFFER TICKS: begins, and gives the device buffers of that size, just as many as so many frames of that length need; answers with the
// number of frames that came and the ticks until the last did. When none comes for TICKS, the rest of the buffers stay with the device.
static void command_receive(int count, const uint64_t *args) {
    if (count != 4 || !receive.size || args[1] > frame_limit || args[2] < header_size || args[2] > frame_limit) return refuse("bad arguments");
    uint32_t length = (uint32_t)args[1], buffer = (uint32_t)args[2];
    uint64_t each = (header_size + length + buffer - 1) / buffer, wanted = args[0] * each, taken = 0, frames = 0, wrong = 0;
    if (given) return refuse("buffers of another run are still with the device");
    for (uint16_t slot = 0; slot < receive.size; slot++) receive.descriptors[slot] = (struct descriptor){(uint64_t)data[slot], buffer, descriptor_write, 0};
    begin();
    uint64_t start = ticks(), last = start, of_frame = 0, bytes = 0;
    rearm(&receive);
    for (; given < receive.size && given < wanted; given++) offer(&receive, given);
    publish(&receive);
    for (uint64_t offered = given; taken < wanted;) {
        uint16_t slot;
        uint32_t written;
        bool any = false;
        while (take(&receive, &slot, &written)) {
            any = true;
            taken++;
            given--;
            if (!of_frame) of_frame = ((volatile struct header *)data[slot])->buffers, bytes = 0;
            bytes += written;
            if (of_frame <= 1) {
                frames++;
                wrong += bytes != header_size + length;
                of_frame = 0;
            } else {
                of_frame--;
            }
            if (offered < wanted) offer(&receive, slot), offered++, given++;
        }
        if (any) {
            rearm(&receive);
            publish(&receive);
            last = ticks();
        } else if (ticks() - last > args[3]) {
            break;
        } else {
            relax();
        }
    }
    if (wrong) return refuse("frames of another length came");
    answer(frames);
    answer(last - start);
}

const struct command net_commands[] = {{"net-start", command_start}, {"net-send", command_send}, {"net-receive", command_receive}, {0, 0}};
