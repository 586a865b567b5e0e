/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which connection is to be told of which events, and telling it. Callback ids count from 0
 * for each connection. A connection that ends is forgotten.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/secret_def.h"
#include "rpc/server.h"
#include "secret/service.h"

struct secret_events;

/* Registrations that one connection can have at a time. */
enum { SECRET_EVENTS_MAX = 1024 };

struct secret_events *secret_events_new(void);
/* Not before the connections that registered have ended. */
void secret_events_free(struct secret_events *events);

/* Registers `connection` for an event of all secrets or, with `only`, of that one, which need not
 * exist. `event_id` is the client's word: an unknown one is an error. */
bool secret_events_register(struct secret_events *events, struct rpc_connection *connection,
                            int event_id, const struct uuid *only, int *ret_callback_id,
                            GError **error);
bool secret_events_deregister(struct secret_events *events, struct rpc_connection *connection,
                              int callback_id, GError **error);

/* Tells all who registered. */
void secret_events_tell(struct secret_events *events, enum secret_event_id event, int detail,
                        const struct secret_def *def);

typedef struct secret_events secret_events_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(secret_events_t, secret_events_free)
