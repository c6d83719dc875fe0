// A driver for virtio-mmio devices (version 2) with split virtqueues (virtio 1.2, sections 2.7 and 4.2). It polls: no interrupt is wanted or taken.
#pragma once
#include "payload.h"

enum { type_net = 1, type_block = 2, type_rng = 4 };

enum { reg_device_features = 0x10, reg_device_features_select = 0x14, reg_driver_features = 0x20, reg_driver_features_select = 0x24, reg_queue_select = 0x30,
       reg_queue_size_max = 0x34, reg_queue_size = 0x38, reg_queue_ready = 0x44, reg_notify = 0x50, reg_interrupt_status = 0x60,
       reg_interrupt_acknowledge = 0x64, reg_status = 0x70, reg_queue_descriptors = 0x80, reg_queue_driver = 0x90, reg_queue_device = 0xa0, reg_config = 0x100 };

enum { feature_indirect = 28, feature_event_index = 29, feature_version_1 = 32 };

struct device {
    uint64_t registers;
    uint32_t interrupt;
    uint32_t type;
};

enum { device_limit = 32 };
extern struct device devices[device_limit];
extern int device_count;

// Notes the devices that the words virtio_mmio.device=SIZE@ADDRESS:INTERRUPT of the kernel's command line name.
void find_devices(const char *command_line);

// The device at a place of that list, if it is of this type; else 0, and the command is refused.
struct device *device_at(uint64_t place, uint32_t type);

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
enum { descriptor_next = 1, descriptor_write = 2, descriptor_indirect = 4 };

enum { queue_size_limit = 256 };

struct queue {
    struct device *device;
    uint32_t index;
    uint16_t size;            // a power of two
    uint16_t next_available;  // free-running: entries made available
    uint16_t published;       // those of them that the device was shown
    uint16_t next_used;
    bool wants_interrupts;
    struct descriptor descriptors[queue_size_limit] __attribute__((aligned(16)));
    // Behind `size` entries stands used_event.
    struct {
        uint16_t flags, index, ring[queue_size_limit + 1];
    } available;
    // Behind `size` entries stands available_event.
    struct {
        uint16_t flags, index;
        struct {
            uint32_t head, written;
        } ring[queue_size_limit + 1];
    } used __attribute__((aligned(4096)));
};

// Resets the device and negotiates what it has of `features` (bits), VERSION_1, INDIRECT_DESC and EVENT_IDX; false when it does not agree.
bool start_device(struct device *device, uint64_t features, uint64_t *agreed);
// Between start_device and finish_device: queue `index`, with at most `size` entries.
bool start_queue(struct queue *queue, struct device *device, uint32_t index, uint16_t size);
void finish_device(struct device *device);

// Makes a chain available, by its first descriptor; the device sees it after `publish`, which notifies when the device wants it.
static inline void offer(struct queue *queue, uint16_t head) {
    queue->available.ring[queue->next_available++ & (queue->size - 1)] = head;
}
void publish(struct queue *queue);

// Whether the device has given back a chain, and which.
static inline bool take(struct queue *queue, uint16_t *head, uint32_t *written) {
    if (*(volatile uint16_t *)&queue->used.index == queue->next_used) return false;
    __asm__ volatile("" : : : "memory");
    *head = (uint16_t)queue->used.ring[queue->next_used & (queue->size - 1)].head;
    *written = queue->used.ring[queue->next_used & (queue->size - 1)].written;
    queue->next_used++;
    return true;
}
// Before waiting for a chain: an interrupt is wanted for the next one, or for none of the next 32767.
static inline void rearm(struct queue *queue) {
    *(volatile uint16_t *)&queue->available.ring[queue->size] = (uint16_t)(queue->next_used + (queue->wants_interrupts ? 0 : 0x7fff));
}
