/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the running daemon: its locks, sockets, service and server, in the order in which they
 * start and end. The process around it (options, background) is main's.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/daemon_conf.h"
#include "secret/daemon_paths.h"
#include "secret/daemon_settings.h"

struct daemon;

/* All borrowed for the daemon's life. */
struct daemon_params {
    const struct daemon_conf *conf;
    const struct daemon_paths *paths;
    const struct daemon_settings_source *settings; /* read again at SIGHUP, for the log */
    const char *pid_file;
    GPtrArray *passed;      /* sockets from systemd; if there are none it makes its own */
    unsigned int timeout_s; /* 0: never idle */
};

/* Takes the locks, loads everything, and is ready to run. It watches SIGTERM, SIGINT, SIGQUIT and
 * SIGHUP. */
struct daemon *daemon_new(const struct daemon_params *params, GError **error);

/* Serves clients until a signal or --timeout ends it. */
void daemon_run(struct daemon *daemon);

/* Finishes the changes under way, closes all connections, removes its sockets and locks. */
void daemon_free(struct daemon *daemon);

typedef struct daemon daemon_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_t, daemon_free)
