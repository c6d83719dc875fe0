#include "virtio.h"

struct device devices[device_limit];
int device_count;

static uint64_t number(const char **at) {
    uint64_t value = 0, base = 10;
    if ((*at)[0] == '0' && (*at)[1] == 'x') base = 16, *at += 2;
    for (;; ++*at) {
        char c = **at;
        uint64_t digit = c >= '0' && c <= '9' ? (uint64_t)(c - '0') : c >= 'a' && c <= 'f' ? (uint64_t)(c - 'a' + 10) : 16;
        if (digit >= base) return value;
        value = value * base + digit;
    }
}

void find_devices(const char *at) {
    static const char word[] = "virtio_mmio.device=";
    for (; *at; at++) {
        size_t length = 0;
        while (length < sizeof word - 1 && at[length] == word[length]) length++;
        if (length < sizeof word - 1) continue;
        at += length;
        while (*at && *at != '@' && *at != ' ') at++;
        if (*at != '@' || device_count == device_limit) return;
        at++;
        struct device *device = &devices[device_count];
        device->registers = number(&at);
        if (*at == ':') at++;
        device->interrupt = (uint32_t)number(&at);
        device->type = read32(device->registers + 8);
        if (device->type) device_count++;
        if (!*at) return;
    }
}

struct device *device_at(uint64_t place, uint32_t type) {
    if (place < (uint64_t)device_count && devices[place].type == type) return &devices[place];
    refuse("no such device");
    return 0;
}

static void set_status(struct device *device, uint32_t bit) {
    write32(device->registers + reg_status, read32(device->registers + reg_status) | bit);
}

bool start_device(struct device *device, uint64_t features, uint64_t *agreed) {
    features |= 1ull << feature_version_1 | 1ull << feature_indirect | 1ull << feature_event_index;
    write32(device->registers + reg_status, 0);
    while (read32(device->registers + reg_status)) relax();
    set_status(device, 1);
    set_status(device, 2);
    *agreed = 0;
    for (uint32_t half = 0; half < 2; half++) {
        write32(device->registers + reg_device_features_select, half);
        uint32_t both = read32(device->registers + reg_device_features) & (uint32_t)(features >> 32 * half);
        write32(device->registers + reg_driver_features_select, half);
        write32(device->registers + reg_driver_features, both);
        *agreed |= (uint64_t)both << 32 * half;
    }
    set_status(device, 8);
    uint64_t needed = 1ull << feature_version_1 | 1ull << feature_event_index;
    return (*agreed & needed) == needed && read32(device->registers + reg_status) & 8;
}

bool start_queue(struct queue *queue, struct device *device, uint32_t index, uint16_t size) {
    memset(queue, 0, sizeof *queue);
    queue->device = device;
    queue->index = index;
    write32(device->registers + reg_queue_select, index);
    uint32_t limit = read32(device->registers + reg_queue_size_max);
    queue->size = size < queue_size_limit ? size : queue_size_limit;
    while (queue->size > limit) queue->size /= 2;
    if (!queue->size) return false;
    rearm(queue);
    write32(device->registers + reg_queue_size, queue->size);
    const uint64_t parts[3] = {(uint64_t)queue->descriptors, (uint64_t)&queue->available, (uint64_t)&queue->used};
    const uint32_t registers[3] = {reg_queue_descriptors, reg_queue_driver, reg_queue_device};
    for (int part = 0; part < 3; part++) {
        write32(device->registers + registers[part], (uint32_t)parts[part]);
        write32(device->registers + registers[part] + 4, (uint32_t)(parts[part] >> 32));
    }
    write32(device->registers + reg_queue_ready, 1);
    return true;
}

void finish_device(struct device *device) { set_status(device, 4); }

void publish(struct queue *queue) {
    uint16_t old = queue->published, new = queue->next_available;
    *(volatile uint16_t *)&queue->available.index = new;
    queue->published = new;
    fence();
    uint16_t event = *(volatile uint16_t *)&queue->used.ring[queue->size];
    if ((uint16_t)(new - event - 1) < (uint16_t)(new - old)) write32(queue->device->registers + reg_notify, queue->index);
}
