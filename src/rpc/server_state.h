/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a server knows, for the files of src/rpc that make it up.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/frame.h"
#include "rpc/rest.h"
#include "rpc/server.h"
#include "util/loop.h"
#include "util/secret_buf.h"

struct rpc_polkit;
struct rpc_user;

enum {
    /* Room for the largest value that can be set (65536 bytes) in one recv(). */
    RPC_RECEIVE_SIZE = 128 * 1024,
    /* Messages up to this size are built in the server's own buffer. */
    RPC_SEND_SIZE = 64 * 1024,
    /* A call with a key: a string of libvirt's maximum (4 MiB) and the value stay below. */
    RPC_SECRET_FRAME_MAX = 5 * 1024 * 1024,
    /* Incomplete messages of all clients; beyond, who holds most is disconnected. */
    RPC_REST_SECRET_MAX = 32 * 1024 * 1024,
    RPC_REST_PLAIN_MAX = 256 * 1024 * 1024,
    /* What all clients do not read; beyond, who reads least is disconnected. */
    RPC_OUTPUT_MAX = 256 * 1024 * 1024,
    /* Events that a client does not read; beyond, it is disconnected. */
    RPC_EVENTS_MAX = 1024 * 1024,
    /* Unauthenticated clients that wait for their turn beyond max_anonymous_clients. */
    RPC_WAITING_MAX = 128,
    RPC_AUTH_ATTEMPTS_MAX = 3,
    /* After that, a client's further calls wait until others had their turn. */
    RPC_TURN_US = 1000,
    RPC_TICK_MS = 1000,
};

struct rpc_server_program {
    const struct rpc_program *program;
    const void *handlers;
    void *opaque;
};

struct rpc_server {
    struct rpc_server_params params;
    char *uri;
    char *type_name;
    GArray *programs;          /* of struct rpc_server_program */
    GPtrArray *listeners;      /* of struct listener (server.c) */
    GQueue connections;        /* of struct rpc_connection, oldest first */
    GHashTable *users;         /* of struct rpc_user, by uid */
    unsigned int anonymous;    /* not authenticated, and not waiting */
    unsigned int unprivileged; /* of others than root and ourselves */
    unsigned int waiting;
    bool started;
    bool paused; /* no client is accepted */
    struct loop_timer *tick;
    struct loop_timer *idle;
    int64_t next_warning_us; /* about refused clients */
    struct rpc_rest_usage rests;
    size_t output_bytes;        /* that wait to be sent */
    struct secret_buf *receive; /* a head of a frame, then RPC_RECEIVE_SIZE */
    uint8_t *send;              /* RPC_SEND_SIZE */
    struct rpc_polkit *polkit;  /* NULL until a listener wants it */
};

/* A connection has closed. */
void rpc_server_drop_connection(struct rpc_server *server, struct rpc_connection *connection);

/* A client of `user` that counted as anonymous does so no more: lets the next one in. */
void rpc_server_note_authenticated(struct rpc_server *server, struct rpc_user *user);

/* Room for incomplete messages is used up: aborts the connection that holds most of it, of the user
 * whose connections do; root's last. */
void rpc_server_shed_input(struct rpc_server *server, bool secret);

/* The same for output that waits. */
void rpc_server_shed_output(struct rpc_server *server);
