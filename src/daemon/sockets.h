/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which sockets the daemon listens on: those that systemd passed, or else its own, with the
 * names, modes and group of the configuration. Who connects is not its business.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/daemon_conf.h"
#include "rpc/listener.h"

/* The one for changes, and the read-only one. */
enum { DAEMON_SOCKET_KINDS = 2 };

struct daemon_socket_kind {
    const char *file;     /* "virtsecretd-sock" */
    const char *units[3]; /* systemd's names for it, ended by NULL */
    bool readonly;        /* a session has none */
};

struct daemon_socket {
    int fd; /* owned until taken, then -1 */
    bool readonly;
    struct rpc_listener *listener; /* of a socket of our own, removed with it; NULL: systemd's */
};

/* Takes the sockets that were passed to this process. An empty array if there are none; an error if
 * one is no socket of ours. */
GPtrArray *daemon_sockets_take_passed(const struct daemon_socket_kind kinds[DAEMON_SOCKET_KINDS],
                                      const struct daemon_conf *conf, GError **error);

/* Makes and binds them; of a session only the first, which is the one for changes. A socket that a
 * process listens on is an error (ERROR_RESOURCE_BUSY), one that was left behind is replaced. */
GPtrArray *daemon_sockets_bind(const struct daemon_socket_kind kinds[DAEMON_SOCKET_KINDS],
                               const struct daemon_conf *conf, bool session, GError **error);
