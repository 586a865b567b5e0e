/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is remembered of a connection: how many of its calls and jobs are under way, which
 * have limits, and what is to be done when it ends. From the loop's thread alone.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/server.h"

enum {
    /* Calls in work: those of @priority don't wait for others, and so need a limit here. */
    DISPATCH_CLIENT_CALLS_MAX = 32,
    DISPATCH_CLIENT_JOBS_MAX = 8,
};

struct dispatch_clients;

struct dispatch_client {
    unsigned int refs;
    unsigned int calls;
    unsigned int jobs;
    bool is_closed;
    GPtrArray *closings; /* of struct dispatch_closing */
};

/* Called once when the connection ends. It may have been dropped before. */
struct dispatch_closing {
    void (*func)(struct dispatch_closing *closing);
};

struct dispatch_clients *dispatch_clients_new(void);
void dispatch_clients_free(struct dispatch_clients *clients);

/* From now on no call is taken, and every connection counts as ended. */
void dispatch_clients_end(struct dispatch_clients *clients);
bool dispatch_clients_check(const struct dispatch_clients *clients, GError **error);

/* That of the connection of `call`, made if need be. Borrowed: it may be gone when the loop's turn
 * ends, unless a reference is taken. */
struct dispatch_client *dispatch_clients_get(struct dispatch_clients *clients,
                                             const struct rpc_call *call);
struct dispatch_client *dispatch_client_ref(struct dispatch_client *client);
void dispatch_client_unref(struct dispatch_client *client);

/* `closing` (not owned) is called at the end; now if the connection has ended. */
void dispatch_client_add_closing(struct dispatch_client *client, struct dispatch_closing *closing);
void dispatch_client_drop_closing(struct dispatch_client *client, struct dispatch_closing *closing);
