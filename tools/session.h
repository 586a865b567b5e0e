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
    struct rpc_client *client; /* NULL until session_connect */
};

/* The URI that is connected to: -c, VIRTCRYPT_DEFAULT_URI, or root's or the user's own daemon. */
const char *session_uri(const struct session *session);

/* Connects, once. Errors are printed. */
bool session_connect(struct session *session);

void session_clear(struct session *session);
