/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: connections to virtcryptd, each used by one thread at a time and kept for the next call.
 * Every wait on one is bounded. Functions may be called from any thread.
 */
#pragma once

#include "driver/storage_module.h"
#include "rpc/client.h"

struct storage_clients;

struct storage_clients *storage_clients_new(void);

/* A connection for the caller alone, speaking for whom the thread does. The error says how
 * virtcryptd is started. */
struct rpc_client *storage_client_acquire(struct storage_clients *clients, GError **error);

/* For the next call; closed if the last one did not end with an answer. NULL: nothing. */
void storage_client_release(struct storage_clients *clients, struct rpc_client *take_client);

/* Closes it, which ends what virtcryptd does for it. */
void storage_client_close(struct storage_clients *clients, struct rpc_client *take_client);
