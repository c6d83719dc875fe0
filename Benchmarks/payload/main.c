// The payload's main loop: a line on the serial port is a command and its numbers; the answer is a line of numbers, or "! why".
#include "payload.h"
#include "virtio.h"

enum { serial = 0x3f8, line_status = serial + 5, received = 1 };

void print(const char *text) {
    while (*text) out8(serial, (uint8_t)*text++);
}

void answer(uint64_t number) {
    char text[22];
    char *at = text + sizeof text;
    *--at = 0;
    *--at = ' ';
    do *--at = (char)('0' + number % 10);
    while (number /= 10);
    print(at);
}

void begin(void) {
    print("> ");
    while (!(in8(line_status) & received)) {}
    in8(serial);
}

void refuse(const char *why) {
    print("! ");
    print(why);
}

void *memset(void *to, int value, size_t count) {
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(count) : "a"(value) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, size_t count) {
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(count) : : "memory");
    return to;
}

// MARK: Commands

static void command_ticks(int count, const uint64_t *args) {
    (void)count, (void)args;
    answer(ticks());
}

static void command_devices(int count, const uint64_t *args) {
    (void)count, (void)args;
    for (int index = 0; index < device_count; index++) answer(devices[index].type);
}

static const struct command own_commands[] = {
    {"ticks", command_ticks},      // the time stamp counter
    {"devices", command_devices},  // the type of each device that there is; what follows names them by their place in this list
    {0, 0},
};

static const struct command *const all_commands[] = {own_commands, exit_commands, block_commands, net_commands};

static void read_line(char *line, int size) {
    int length = 0;
    while (true) {
        if (!(in8(line_status) & received)) continue;
        char c = (char)in8(serial);
        if (c == '\n') break;
        if (length < size - 1) line[length++] = c;
    }
    line[length] = 0;
}

static bool is_word(const char *line, const char *word) {
    while (*word && *line == *word) line++, word++;
    return !*word && (!*line || *line == ' ');
}

static void obey(const char *line) {
    uint64_t args[16];
    int count = 0;
    const char *at = line;
    while (*at && *at != ' ') at++;
    while (*at && count < 16) {
        if (*at++ != ' ' || *at < '0' || *at > '9') continue;
        args[count] = 0;
        while (*at >= '0' && *at <= '9') args[count] = args[count] * 10 + (uint64_t)(*at++ - '0');
        count++;
    }
    for (size_t group = 0; group < sizeof all_commands / sizeof *all_commands; group++) {
        for (const struct command *command = all_commands[group]; command->name; command++) {
            if (is_word(line, command->name)) return command->run(count, args);
        }
    }
    refuse("unknown command");
}

// `start_info`: struct hvm_start_info; the address of the command line is at 24.
void payload(uint64_t start_info) {
    find_devices((const char *)*(const uint64_t *)(start_info + 24));
    print("ready\n");
    while (true) {
        char line[200];
        read_line(line, sizeof line);
        obey(line);
        print("\n");
    }
}
