/* A closed-loop PVAccess load generator: one connection, N requests outstanding, nothing to think about.
 *
 * Requests are encoded once. Each slot has an ioid of its own (a second EXEC on a busy ioid is illegal),
 * and is sent again as soon as its reply has been seen; all slots that became free by one recv() leave in
 * one send(). Replies are walked by their headers; ioid and status byte are checked, the rest is counted.
 *
 *     load PORT PV get|put OUTSTANDING WARMUP SECONDS
 *
 * prints one JSON object. Exit code 1 with a line on stderr if the server refuses, closes or answers with an
 * error status. Loopback only, little-endian hosts only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 8, MAX_SLOTS = 4096, SAMPLES = 1 << 20, IN_SIZE = 1 << 20 };
enum { VALIDATION = 1, CREATE_CHANNEL = 7, VALIDATED = 9, GET = 10, PUT = 11 };

static int sock;
static uint8_t in[IN_SIZE];
static size_t in_start, in_end;
static uint8_t out[MAX_SLOTS * 64];
static size_t out_size;

static void die(const char *what) {
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }

static uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

/* Append one message to `out`. */
static void message(uint8_t command, const void *payload, uint32_t size) {
    if (out_size + HEADER + size > sizeof out) die("output buffer is full");
    uint8_t *at = out + out_size;
    at[0] = 0xCA, at[1] = 2, at[2] = 0, at[3] = command;
    put32(at + 4, size);
    memcpy(at + HEADER, payload, size);
    out_size += HEADER + size;
}

static void flush(void) {
    size_t sent = 0;
    while (sent < out_size) {
        ssize_t n = send(sock, out + sent, out_size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) die("the server closed the connection (send)");
        sent += (size_t)n;
    }
    out_size = 0;
}

static void receive(void) {
    if (in_start == in_end) in_start = in_end = 0;
    if (in_start > IN_SIZE / 2) {
        memmove(in, in + in_start, in_end - in_start);
        in_end -= in_start, in_start = 0;
    }
    ssize_t n;
    do n = recv(sock, in + in_end, IN_SIZE - in_end, 0);
    while (n < 0 && errno == EINTR);
    if (n == 0) die("the server closed the connection");
    if (n < 0) die("no answer from the server (recv)");
    in_end += (size_t)n;
}

/* The next complete message in `in`: its payload, or NULL if more bytes are needed. */
static const uint8_t *next(uint8_t *command, uint32_t *size) {
    while (in_end - in_start >= HEADER) {
        const uint8_t *at = in + in_start;
        if (at[0] != 0xCA) die("bad magic");
        if (at[2] & 0x80) die("the server speaks big endian");
        uint32_t length = (at[2] & 1) ? 0 : get32(at + 4); /* control messages have no payload */
        if (length > IN_SIZE / 4) die("a reply is too large for this program");
        if (in_end - in_start < HEADER + length) return NULL;
        in_start += HEADER + length;
        if (at[2] & 1) continue;
        *command = at[3], *size = length;
        return at + HEADER;
    }
    return NULL;
}

/* Wait for a message of this kind; others are passed over. */
static const uint8_t *expect(uint8_t wanted, uint32_t *size) {
    for (;;) {
        uint8_t command;
        const uint8_t *payload = next(&command, size);
        if (!payload) receive();
        else if (command == wanted) return payload;
    }
}

static uint32_t open_channel(const char *name) {
    static const uint8_t hello[] = {0, 0, 1, 0, 0xFF, 0x7F, 0, 0, 9, 'a', 'n', 'o', 'n', 'y', 'm', 'o', 'u', 's', 0xFF};
    uint32_t size;
    expect(VALIDATION, &size);
    message(VALIDATION, hello, sizeof hello);
    flush();
    if (expect(VALIDATED, &size)[0] != 0xFF) die("the validation failed");

    uint8_t create[300] = {1, 0, 0x11, 0, 0, 0, (uint8_t)strlen(name)};
    memcpy(create + 7, name, strlen(name));
    message(CREATE_CHANNEL, create, 7 + (uint32_t)strlen(name));
    flush();
    const uint8_t *reply = expect(CREATE_CHANNEL, &size);
    if (reply[8] != 0xFF) die("no such channel");
    return get32(reply + 4);
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 7) die("usage: load PORT PV get|put OUTSTANDING WARMUP SECONDS");
    int port = atoi(argv[1]), slots = atoi(argv[4]);
    const char *name = argv[2];
    uint8_t command = strcmp(argv[3], "get") == 0 ? GET : PUT;
    double warmup = atof(argv[5]), seconds = atof(argv[6]);
    if (slots < 1 || slots > MAX_SLOTS || strlen(name) > 200) die("bad arguments");

    sock = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    struct timeval patience = {10, 0};
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(sock, (struct sockaddr *)&address, sizeof address) < 0) die("cannot connect");
    uint32_t sid = open_channel(name);

    /* INIT all slots: pvRequest field(); never an EXEC before the reply to its INIT */
    uint8_t init[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x80, 0, 1, 5, 'f', 'i', 'e', 'l', 'd', 0x80, 0, 0};
    put32(init, sid);
    for (int slot = 0; slot < slots; slot++) {
        put32(init + 4, (uint32_t)slot);
        message(command, init, sizeof init);
        flush();
        uint32_t size;
        if (expect(command, &size)[5] != 0xFF) die("INIT was refused");
    }

    /* EXEC: for PUT the bit of `value` and a double */
    uint8_t exec[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x00, 1, 2, 0, 0, 0, 0, 0, 0, 0x12, 0x40};
    uint32_t exec_size = command == GET ? 9 : sizeof exec;
    put32(exec, sid);
    static double sent_at[MAX_SLOTS];
    static float latency[SAMPLES];
    double begun = now();
    for (int slot = 0; slot < slots; slot++) {
        put32(exec + 4, (uint32_t)slot);
        message(command, exec, exec_size);
        sent_at[slot] = begun;
    }
    flush();

    long operations = 0, total = 0, sampled = 0, outstanding = slots, turns = 0;
    uint32_t smallest = UINT32_MAX, largest = 0;
    double start = 0, stop = 0, t = begun;
    while (outstanding) {
        receive();
        t = now();
        if (!start && t - begun >= warmup) start = t;
        if (start && !stop && t - start >= seconds) stop = t;
        turns += start && !stop;
        uint8_t kind;
        uint32_t size;
        for (const uint8_t *reply; (reply = next(&kind, &size));) {
            if (kind != command) continue;
            uint32_t slot = get32(reply);
            if (size < 6 || slot >= (uint32_t)slots) die("a reply with an unknown ioid");
            if (reply[5] != 0xFF) {
                fprintf(stderr, "load: error status %u: %.*s\n", reply[5], (int)(size > 7 ? size - 7 : 0), reply + 7);
                return 1;
            }
            total++;
            if (start && !stop) {
                operations++;
                if (size < smallest) smallest = size;
                if (size > largest) largest = size;
                if (sampled < SAMPLES) latency[sampled++] = (float)(t - sent_at[slot]);
            }
            if (stop) outstanding--;
            else {
                put32(exec + 4, slot);
                message(command, exec, exec_size);
                sent_at[slot] = t;
            }
        }
        flush();
    }
    qsort(latency, (size_t)sampled, sizeof *latency, by_size);
    if (!sampled) die("not one operation in the measured time");
    printf("{\"total\": %ld, \"operations\": %ld, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"replies_per_recv\": %.1f, "
           "\"reply_bytes\": [%u, %u]}\n",
           total, operations, stop - start, latency[sampled / 2] * 1e6, latency[sampled * 99 / 100] * 1e6,
           turns ? (double)operations / (double)turns : 0.0, smallest, largest);
    return 0;
}
