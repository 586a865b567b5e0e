/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: asking polkit, over the system bus, whether a process may use a socket. Each question waits
 * in a thread of a bounded pool, on a D-Bus connection of its own: when that is closed, polkit
 * gives a question up that nobody waits for any more. A daemon that is not root, to whom polkit
 * would not answer, has somebody else ask.
 */
#pragma once

#include <glib.h>

#include "rpc/identity.h"
#include "util/loop.h"

struct rpc_polkit;
struct rpc_polkit_check;

enum rpc_polkit_action {
    RPC_POLKIT_MONITOR, /* org.libvirt.unix.monitor: read-only sockets */
    RPC_POLKIT_MANAGE,  /* org.libvirt.unix.manage */
};

/* Somebody may have to type a password. */
enum { RPC_POLKIT_TIMEOUT_MS = 120000 };

struct rpc_polkit *rpc_polkit_new(struct loop *loop, unsigned int max_threads, GError **error);

/* Ends every check with an error, and waits for the threads. NULL is allowed. */
void rpc_polkit_free(struct rpc_polkit *polkit);

void rpc_polkit_set_timeout(struct rpc_polkit *polkit, unsigned int timeout_ms);

struct rpc_polkit_question {
    const struct rpc_identity *identity;
    const char *action_id;
    unsigned int timeout_ms;
    int cancel_fd; /* readable once nobody waits for the answer any more */
};

/* Blocks, in a thread; false with an error of domain ERROR_FROM_POLKIT if the answer is not yes. */
typedef bool (*rpc_polkit_ask_func)(const struct rpc_polkit_question *question, void *opaque,
                                    GError **error);

/* `func` asks from now on. */
void rpc_polkit_set_ask(struct rpc_polkit *polkit, rpc_polkit_ask_func func, void *opaque);

/* `error` is NULL if polkit said yes. Called once, from the loop, never before rpc_polkit_begin
 * returns. */
typedef void (*rpc_polkit_func)(const GError *error, void *opaque);

/* The reference returned is given back with rpc_polkit_abandon. */
struct rpc_polkit_check *rpc_polkit_begin(struct rpc_polkit *polkit,
                                          const struct rpc_identity *identity,
                                          enum rpc_polkit_action action, rpc_polkit_func func,
                                          void *opaque);

/* Ends the check, if it still runs, with an error. A GDestroyNotify of the check. */
void rpc_polkit_abandon(void *check);
