/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: where virtcryptd has its files, and libvirt those that it reads.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "daemon/folders.h"

struct virtcryptd_paths {
    char *volumes_dir;     /* records */
    char *policy_dir;      /* policies of pools */
    char *guests_dir;      /* records of guests with keys */
    char *domain_dir;      /* libvirt's: definitions of guests */
    char *uses_dir;        /* who uses what is open */
    char *autostart;       /* the file of guests that wait for the unlock */
    char *pool_state_dir;  /* libvirt's: active pools */
    char *pool_config_dir; /* libvirt's: all pools */
    char *guest_state_dir; /* libvirt's: running guests */
};

struct virtcryptd_paths *virtcryptd_paths_new(const struct daemon_folders *folders);
void virtcryptd_paths_free(struct virtcryptd_paths *paths);

/* Makes our own, and what they are in, for root alone. */
bool virtcryptd_paths_make_folders(const struct virtcryptd_paths *paths, GError **error);

typedef struct virtcryptd_paths virtcryptd_paths_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virtcryptd_paths_t, virtcryptd_paths_free)
