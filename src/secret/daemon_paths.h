/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: where virtcrypt-secretd has what it alone has, below the folders of daemon/folders.h.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "daemon/folders.h"

struct daemon_paths {
    char *secrets_dir;  /* UUID.xml and UUID.key */
    char *journal_dir;  /* the store's journal */
    char *guests_dir;   /* GUEST/UUID.key: copies that guests own */
    char *audit;        /* the file */
    char *generations;  /* the file of key-encryption generations */
    char *slots;        /* the file of the master key's slots */
    char *libvirt_conf; /* secret.conf of libvirt 12.1 and later */
    char *index;        /* the index of values' generations */
    char *driver_lock;  /* the lock that libvirt's secret driver takes for the secrets_dir */
};

struct daemon_paths *daemon_paths_new(const struct daemon_folders *folders);
void daemon_paths_free(struct daemon_paths *paths);

typedef struct daemon_paths daemon_paths_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_paths_t, daemon_paths_free)
