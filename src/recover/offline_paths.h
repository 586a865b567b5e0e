/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: where a store has its files when no daemon is asked: below a folder that is the root of a
 * host (a mounted disk, a copy), or this host's own, or a user's.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct offline_paths {
    char *root; /* "" for this host's */
    bool is_session;
    char *virtcrypt_dir; /* of what follows but the first and the last three */
    char *secrets_dir;
    char *journal_dir;
    char *slots;
    char *generations;
    char *index;
    char *key_file; /* by the settings: a master key of before slots, or the first key file */
    char *guests_dir;
    char *audit;
    char *driver_lock; /* NULL: nobody on that root can have it */
};

/* `root` NULL: this host, or with `is_session` its user. Nothing below `root` that leads to the
 * store may be a symbolic link, which might lead out of it: ERROR_OPERATION_INVALID. */
struct offline_paths *offline_paths_new(const char *root, bool is_session, GError **error);
void offline_paths_free(struct offline_paths *paths);

/* A path that a file of the store names, where it is now. */
char *offline_paths_relocate(const struct offline_paths *paths, const char *path);

typedef struct offline_paths offline_paths_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(offline_paths_t, offline_paths_free)
