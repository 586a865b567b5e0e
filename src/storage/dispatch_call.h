/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one call that a worker answers. Arguments are copied, since they are gone when a handler
 * returns; the answer is written straight into the call's.
 */
#pragma once

#include "storage/dispatch.h"

struct dispatch_call {
    struct dispatch_work work; /* first */
    struct storage_dispatch *dispatch;
    struct dispatch_client *client; /* a reference */
    struct rpc_call *call;
    /* In a worker's thread. `ret` is the answer's struct, NULL for void; the server clears it on
     * failure too. */
    bool (*run)(struct dispatch_call *call, void *ret, GError **error);
    /* In the loop, before the answer; or NULL. */
    void (*after)(struct dispatch_call *call, bool is_right);

    /* Copies of arguments: which ones, each call says. */
    char *pool;
    char *name;
    char *text;
    char *source_pool;
    char *source_name;
    uint32_t number;
    struct storage_user user; /* its name is owned */

    /* What calls of other programs have in place of these; freed with the call. */
    void *payload;
    GDestroyNotify free_payload;
};

/* NULL with ERROR_RESOURCE_BUSY if this client has too many calls under way, or with an error if
 * the daemon is ending. */
struct dispatch_call *dispatch_call_new(struct storage_dispatch *dispatch, struct rpc_call *call,
                                        bool (*run)(struct dispatch_call *call, void *ret,
                                                    GError **error),
                                        GError **error);
/* Takes `call`. */
enum rpc_outcome dispatch_call_push(struct dispatch_call *call, enum dispatch_pool pool);
