/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what one run of the program works with: its global options and its connection.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/client.h"
#include "tools/command.h"
#include "tools/uri.h"

struct session {
    const struct command_group *groups;
    size_t group_count;
    const char *uri_text; /* NULL for the default */
    bool is_readonly;
    bool is_quiet;
    enum uri_daemon daemon;    /* of the command */
    struct rpc_client *client; /* NULL until session_connect */
};

/* The URI that is connected to: -c, VIRTCRYPT_DEFAULT_URI, or the host's daemon, for others than
 * root their own where there are such. */
const char *session_uri(const struct session *session);

/* The same, parsed, for the session's daemon. */
struct uri *session_parse_uri(const struct session *session, GError **error);

/* Connects, once. Errors are printed. */
bool session_connect(struct session *session);

/* The same within `timeout_ms`, without an agent for polkit; errors are returned. */
bool session_try(struct session *session, int timeout_ms, GError **error);

/* Answers what the daemon asks meanwhile, where no call is made for long; connects again if the
 * connection ended. */
bool session_keep(struct session *session);

/* The same host and options, for another daemon of it, without a connection. */
struct session session_beside(const struct session *session, enum uri_daemon daemon);

/* Ends the connection. */
void session_clear(struct session *session);
typedef struct session session_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(session_t, session_clear)
