/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: struct guest_custodian by RPC to virtcrypt-secretd (storage/client_link.h). Lists of any
 * length are sent and got in parts. Every wait is bounded. Thread-safe.
 */
#pragma once

#include <glib.h>

#include "guest/custodian.h"

struct client_custodian;

/* `socket` is virtsecretd-sock, `token_dir` the folder of the system token. It does not connect
 * yet: the custodian may be away. */
struct client_custodian *client_custodian_new(const char *socket, const char *token_dir);
void client_custodian_free(struct client_custodian *custodian);
/* Milliseconds that each of the custodian's answers may take; CLIENT_LINK_TIMEOUT_MS at first. */
void client_custodian_set_timeout(struct client_custodian *custodian, int timeout_ms);

/* Valid as long as `custodian`. */
struct guest_custodian client_custodian_table(struct client_custodian *custodian);

typedef struct client_custodian client_custodian_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(client_custodian_t, client_custodian_free)
