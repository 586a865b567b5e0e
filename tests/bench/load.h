/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the parts of the load program share: one run's parameters, the way to reach a daemon
 * (raw messages, libvirt's public API, or a bare echo server as the floor), and the secrets of the
 * benchmark, which are functions of their index (population.py makes the same ones).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum load_op {
    LOAD_LOOKUP_UUID,
    LOAD_LOOKUP_USAGE,
    LOAD_GET_VALUE,
    LOAD_SET_VALUE,
    LOAD_DEFINE, /* a new secret; its undefine is not timed */
    LOAD_LIST,
    LOAD_LIST_PAGED, /* virtcrypt's own call, every page */
    LOAD_OP_LAST,
};

enum { LOAD_ERROR_SIZE = 256, LOAD_VALUE_LEN = 32, LOAD_UUID_TEXT_SIZE = 37 };

struct load_params {
    const char *socket; /* path of the daemon's Unix socket */
    enum load_op op;
    unsigned int clients;
    double seconds;
    uint32_t secrets; /* that the daemon holds: indices 0 to secrets - 1 */
    int pid;          /* of the daemon, for its processor time */
};

/* One way to reach a daemon. Each function fails with a text in `error` (LOAD_ERROR_SIZE). */
struct load_backend {
    const char *name;
    /* Connects and opens; `client` counts from 0. NULL on failure. */
    void *(*open)(const struct load_params *params, unsigned int client, char *error);
    /* The timed call, on the secret with this index (a free index for LOAD_DEFINE). */
    bool (*call)(void *connection, enum load_op op, uint32_t index, char *error);
    /* Takes back what a LOAD_DEFINE did, untimed. */
    bool (*undo)(void *connection, uint32_t index, char *error);
    void (*close)(void *connection);
};

extern const struct load_backend load_backend_raw;
extern const struct load_backend load_backend_libvirt;
extern const struct load_backend load_backend_floor;

/* The floor: an epoll server in a child process that answers messages of a cheap call's sizes with
 * three system calls each. Returns its pid, and listens at `path` when it returns. */
int load_floor_start_server(const char *path);

void load_secret_uuid(uint32_t index, uint8_t ret_uuid[16]);
void load_secret_uuid_text(uint32_t index, char ret_text[LOAD_UUID_TEXT_SIZE]);
/* "/bench/volume-00000042.qcow2", NUL-terminated. */
void load_secret_usage(uint32_t index, char *ret_text, size_t size);
void load_secret_xml(uint32_t index, char *ret_text, size_t size);

/* Connects to a Unix socket; -1 with `error`. */
int load_connect(const char *path, char *error);
bool load_write_all(int fd, const void *bytes, size_t len);
bool load_read_all(int fd, void *bytes, size_t len);
