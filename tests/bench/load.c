/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one measurement: client processes that call a daemon in a closed loop for a time, and what
 * came of it as one line of JSON: calls a second, latencies, and the daemon's processor time, which
 * is read while every connection is open and idle, so that opening and closing are not in it.
 *
 * Usage: bench-load raw|libvirt|floor SOCKET OP CLIENTS SECONDS SECRETS PID
 */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 64, SAMPLES_MAX = 1 << 20, FRESH_INDEX = 1 << 30, FRESH_PER_CLIENT = 1 << 22 };

/* What a client reports, in memory shared with the parent. */
struct report {
    bool failed;
    char error[LOAD_ERROR_SIZE];
    uint32_t calls;
    uint64_t busy_ns;              /* within calls */
    uint32_t samples[SAMPLES_MAX]; /* ns of each of the first calls */
};

/* Two gates that clients wait at: a pipe each whose writing end the parent closes to open it. */
struct gates {
    int arrived[2]; /* clients write a byte: connected, then: finished */
    int start[2];
    int end[2];
};

static const char *const op_names[] = {
    "lookup-uuid", "lookup-usage", "get-value", "set-value", "define", "list", "list-paged",
};
_Static_assert(sizeof(op_names) / sizeof(op_names[0]) == LOAD_OP_LAST, "a name for each op");

static const struct load_backend *const backends[] = {
    &load_backend_raw,
    &load_backend_libvirt,
    &load_backend_floor,
};

static uint64_t
now_ns(clockid_t clock)
{
    struct timespec now = {0};

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void
pass_gate(const struct gates *gates, const int gate[2])
{
    char byte = 0;

    if (write(gates->arrived[1], &byte, 1) == 1)
        while (read(gate[0], &byte, 1) < 0 && errno == EINTR)
            ;
}

/* xorshift64 (Marsaglia 2003): which secret is next need not be unpredictable. */
static uint32_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

static void
call_until(const struct load_backend *backend, const struct load_params *params, void *connection,
           unsigned int client, struct report *report)
{
    uint64_t random = 0x9e3779b97f4a7c15u * (client + 1);
    uint32_t fresh = FRESH_INDEX + client * FRESH_PER_CLIENT;
    uint64_t deadline = now_ns(CLOCK_MONOTONIC) + (uint64_t)(params->seconds * 1e9);
    uint64_t begin = 0;

    while (begin < deadline) {
        uint32_t index =
            params->op == LOAD_DEFINE ? fresh++ : next_random(&random) % params->secrets;
        uint64_t end;

        begin = now_ns(CLOCK_MONOTONIC);
        report->failed = !backend->call(connection, params->op, index, report->error);
        end = now_ns(CLOCK_MONOTONIC);
        if (report->failed)
            return;
        if (report->calls < SAMPLES_MAX)
            report->samples[report->calls] = (uint32_t)(end - begin);
        report->calls++;
        report->busy_ns += end - begin;
        if (params->op == LOAD_DEFINE && !backend->undo(connection, index, report->error)) {
            report->failed = true;
            return;
        }
    }
}

static void
run_client(const struct load_backend *backend, const struct load_params *params,
           const struct gates *gates, unsigned int client, struct report *report)
{
    void *connection;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(gates->start[1]);
    close(gates->end[1]);
    connection = backend->open(params, client, report->error);
    report->failed = !connection;
    pass_gate(gates, gates->start);
    if (connection)
        call_until(backend, params, connection, client, report);
    pass_gate(gates, gates->end);
    if (connection)
        backend->close(connection);
}

static bool
wait_for_clients(const struct gates *gates, unsigned int clients)
{
    char byte;

    for (unsigned int i = 0; i < clients; i++) {
        if (read(gates->arrived[0], &byte, 1) != 1)
            return false;
    }
    return true;
}

static int
compare_samples(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Prints the result, or the first client's error; returns the exit status. */
static int
print_result(const struct load_params *params, struct report *const *reports, uint64_t cpu_ns)
{
    size_t count = 0;
    uint64_t calls = 0;
    double rate = 0;
    uint32_t p50;
    uint32_t p99;
    uint32_t *samples = calloc((size_t)params->clients * SAMPLES_MAX, sizeof(*samples));

    for (unsigned int i = 0; i < params->clients; i++) {
        const struct report *report = reports[i];
        size_t taken = report->calls < SAMPLES_MAX ? report->calls : SAMPLES_MAX;

        if (report->failed || !samples || report->calls == 0) {
            fprintf(stderr, "bench-load: client %u: %s\n", i,
                    report->failed ? report->error : "made no call");
            free(samples);
            return 1;
        }
        memcpy(samples + count, report->samples, taken * sizeof(*samples));
        count += taken;
        calls += report->calls;
        rate += report->calls * 1e9 / (double)report->busy_ns;
    }
    qsort(samples, count, sizeof(*samples), compare_samples);
    p50 = samples[count / 2];
    p99 = samples[count - 1 - count / 100];
    printf("{\"calls\": %llu, \"per_second\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"daemon_cpu_us\": %.3f}\n",
           (unsigned long long)calls, rate, p50 / 1e3, p99 / 1e3,
           (double)cpu_ns / 1e3 / (double)calls);
    free(samples);
    return 0;
}

static int
measure(const struct load_backend *backend, const struct load_params *params)
{
    struct report *reports[CLIENTS_MAX];
    struct gates gates;
    clockid_t cpu_clock;
    uint64_t cpu_ns;

    if (clock_getcpuclockid(params->pid, &cpu_clock) != 0 || pipe(gates.arrived) < 0 ||
        pipe(gates.start) < 0 || pipe(gates.end) < 0) {
        fprintf(stderr, "bench-load: no process %d, or no pipe\n", params->pid);
        return 1;
    }
    for (unsigned int i = 0; i < params->clients; i++) {
        reports[i] = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (reports[i] == MAP_FAILED)
            return 1;
        if (fork() == 0) {
            run_client(backend, params, &gates, i, reports[i]);
            _exit(0);
        }
    }
    close(gates.arrived[1]);
    if (!wait_for_clients(&gates, params->clients))
        return 1;
    cpu_ns = now_ns(cpu_clock);
    close(gates.start[1]);
    if (!wait_for_clients(&gates, params->clients))
        return 1;
    cpu_ns = now_ns(cpu_clock) - cpu_ns;
    close(gates.end[1]);
    for (unsigned int i = 0; i < params->clients; i++)
        wait(NULL);
    return print_result(params, reports, cpu_ns);
}

int
main(int argc, char **argv)
{
    const struct load_backend *backend = NULL;
    struct load_params params = {.op = LOAD_OP_LAST};
    int status;

    for (size_t i = 0; argc == 8 && i < sizeof(backends) / sizeof(backends[0]); i++) {
        if (strcmp(argv[1], backends[i]->name) == 0)
            backend = backends[i];
    }
    for (int i = 0; argc == 8 && i < LOAD_OP_LAST; i++) {
        if (strcmp(argv[3], op_names[i]) == 0)
            params.op = (enum load_op)i;
    }
    if (!backend || params.op == LOAD_OP_LAST) {
        fprintf(stderr, "usage: bench-load raw|libvirt|floor SOCKET OP CLIENTS SECONDS SECRETS "
                        "PID\n");
        return 2;
    }
    params.socket = argv[2];
    params.clients = (unsigned int)strtoul(argv[4], NULL, 10);
    params.seconds = strtod(argv[5], NULL);
    params.secrets = (uint32_t)strtoul(argv[6], NULL, 10);
    params.pid = (int)strtol(argv[7], NULL, 10);
    if (params.clients < 1 || params.clients > CLIENTS_MAX || params.secrets < 1) {
        fprintf(stderr, "bench-load: 1 to %d clients, and at least one secret\n", CLIENTS_MAX);
        return 2;
    }
    if (backend != &load_backend_floor)
        return measure(backend, &params);
    params.pid = load_floor_start_server(params.socket);
    if (params.pid < 0) {
        fprintf(stderr, "bench-load: cannot listen at %s: %s\n", params.socket, strerror(errno));
        return 1;
    }
    status = measure(backend, &params);
    kill(params.pid, SIGKILL);
    (void)unlink(params.socket);
    return status;
}
