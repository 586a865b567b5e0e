/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: struct storage_keys by RPC to virtcrypt-secretd (client_link.h). Every wait is bounded.
 * Thread-safe.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "storage/keys.h"

struct client_keys;

enum { CLIENT_KEYS_CHECK_TIMEOUT_MS = 2000 };

/* `socket` is virtsecretd-sock, `token_dir` the folder of the system token. It does not connect
 * yet: the custodian may be away. */
struct client_keys *client_keys_new(const char *socket, const char *token_dir);
void client_keys_free(struct client_keys *keys);
/* Milliseconds that each of a custodian's answers may take; CLIENT_LINK_TIMEOUT_MS at first. */
void client_keys_set_timeout(struct client_keys *keys, int timeout_ms);

/* Valid as long as `keys`. */
struct storage_keys client_keys_table(struct client_keys *keys);

/* Whether the custodian is there and unlocked; the error says what is wrong and what to do. Takes
 * CLIENT_KEYS_CHECK_TIMEOUT_MS for each answer at most. */
bool client_keys_check(struct client_keys *keys, GError **error);

typedef struct client_keys client_keys_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(client_keys_t, client_keys_free)
