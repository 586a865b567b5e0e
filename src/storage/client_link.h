/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: our way to virtcrypt-secretd, the custodian of keys: as one of libvirt's own daemons, with
 * the system token. Every operation has a connection of its own: none waits for another thread's,
 * and there is nothing to reconnect after a restart of the custodian. Every wait is bounded.
 * Thread-safe.
 */
#pragma once

#include <glib.h>

#include "conf/secret_def.h"
#include "rpc/client.h"
#include "rpc/protocol/remote_secret_client.h"
#include "util/uuid.h"

#define CLIENT_LINK_REMEDY "'virtcrypt daemon-status' shows its state"

enum { CLIENT_LINK_TIMEOUT_MS = 30000 };

struct client_link {
    char *socket;
    char *token_dir;
    int timeout_ms; /* for each answer */
    int domain;     /* of errors */
};

/* `socket` is virtsecretd-sock, `token_dir` the folder of the system token, `domain` an enum
 * error_domain. It does not connect: the custodian may be away. */
void client_link_init(struct client_link *link, const char *socket, const char *token_dir,
                      int domain);
void client_link_clear(struct client_link *link);

/* NULL: the error says what is wrong and what to do. */
struct rpc_client *client_link_open(const struct client_link *link, GError **error);

/* Passes on what the custodian answered (`take_reason`). That there is no such secret stays what it
 * is; all else names who said it. */
void client_link_pass_on(const struct client_link *link, GError **error, GError *take_reason);

/* A secret as calls name it; libvirt's servers look at the uuid alone. */
struct remote_nonnull_secret client_link_name(const struct uuid *uuid);

/* The calls that all who use a link need; errors as of client_link_pass_on. */
struct secret_buf *client_link_get(const struct client_link *link, const struct uuid *uuid,
                                   GError **error);
bool client_link_find_usage(const struct client_link *link, enum secret_usage_type type,
                            const char *usage, struct uuid *ret_uuid, GError **error);
/* Definition, value, and every guest's copy. True as well if there is none. `guest` may be NULL. */
bool client_link_erase(const struct client_link *link, const struct uuid *uuid,
                       const struct uuid *guest, const char *reason, GError **error);
/* A new secret, all or nothing. */
bool client_link_put(const struct client_link *link, const struct secret_def *def,
                     const struct secret_buf *value, const struct uuid *owners, size_t owner_count,
                     GError **error);
