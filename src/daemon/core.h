/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what every daemon of ours is around its service: event loop, signals, pid file, listening
 * sockets, and its announcements to systemd. Order of a start: daemon_core_new, the program's own
 * locks, daemon_core_open_sockets (clients wait there from then on), the service, the server.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "daemon/program.h"
#include "rpc/server.h"
#include "util/loop.h"

/* What a program does at a signal; each may be NULL. */
struct daemon_hooks {
    void (*reload)(void *opaque);
    /* To end: it calls loop_quit when it can. Without it the loop ends at once. */
    void (*end)(void *opaque);
};

struct daemon_core {
    const struct daemon_params *params;
    struct loop *loop;
    const struct daemon_hooks *hooks;
    void *opaque; /* for the hooks, and for the server's is_held */
    struct daemon_lock *pid_file;
    GPtrArray *sockets;
};

/* Watches SIGTERM, SIGINT, SIGQUIT (the end) and SIGHUP: the log's settings are read again, and
 * `reload` is called. Makes libvirt's folders and takes the pid file. Before there are threads,
 * which must not get the signals. */
struct daemon_core *daemon_core_new(const struct daemon_params *params,
                                    const struct daemon_hooks *hooks, void *opaque, GError **error);

/* Those that systemd passed, or the program's own. */
bool daemon_core_open_sockets(struct daemon_core *core, GError **error);

/* A server's parameters, of which the settings, the loop, the version and what to do when idle are
 * set; its `opaque` is the core,
 * whose `opaque` is_held finds its own in. */
struct rpc_server_params daemon_core_server_params(struct daemon_core *core);

/* Hands the sockets to the server. */
bool daemon_core_add_listeners(struct daemon_core *core, struct rpc_server *server, GError **error);

/* Starts the server, tells systemd, and runs until the end. */
void daemon_core_run(struct daemon_core *core, struct rpc_server *server);

/* After the server is freed: removes the sockets. Also done by daemon_core_free. */
void daemon_core_close_sockets(struct daemon_core *core);
void daemon_core_free(struct daemon_core *core);

typedef struct daemon_core daemon_core_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_core_t, daemon_core_free)
