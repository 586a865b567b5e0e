/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the folders of libvirt that our daemons share, and where a daemon has its configuration and
 * pid file unless it is told otherwise: the host's, and those of a user's own daemon, below
 * $XDG_CONFIG_HOME/libvirt and $XDG_RUNTIME_DIR/libvirt.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct daemon_folders {
    bool session;
    char *config_dir;  /* libvirt's own folder of configuration */
    char *runtime_dir; /* libvirt's own folder below the run folder */
    char *token_dir;   /* of the system token, which libvirt's daemons know one another by */
    char *config_file;
    char *pid_file;
};

/* `program` is the daemon's name. */
struct daemon_folders *daemon_folders_new(const char *program, bool session);
void daemon_folders_free(struct daemon_folders *folders);

/* Makes config_dir and runtime_dir if they are missing: those of the host open to all (the sockets
 * are there), those of a session to its user. */
bool daemon_folders_make(const struct daemon_folders *folders, GError **error);

typedef struct daemon_folders daemon_folders_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_folders_t, daemon_folders_free)
