/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: where virtcrypt-secretd has its files unless its configuration says otherwise: the host's,
 * and those of a user's own daemon, below $XDG_CONFIG_HOME/libvirt and $XDG_RUNTIME_DIR/libvirt.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct daemon_paths {
    bool session;
    char *config_file;
    char *config_dir;  /* libvirt's own folder of configuration */
    char *secrets_dir; /* UUID.xml and UUID.key */
    char *journal_dir; /* the store's journal */
    char *runtime_dir; /* libvirt's own folder below the run folder */
    char *driver_lock; /* the lock that libvirt's secret driver takes for the secrets_dir */
    char *token_dir;   /* of the system token, which libvirt's daemons know one another by */
    char *pid_file;
};

struct daemon_paths *daemon_paths_new(bool session);
void daemon_paths_free(struct daemon_paths *paths);

/* Makes config_dir and runtime_dir if they are missing: those of the host open to all (the sockets
 * are there), those of a session to its user. */
bool daemon_paths_make_folders(const struct daemon_paths *paths, GError **error);

typedef struct daemon_paths daemon_paths_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_paths_t, daemon_paths_free)
