/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: locked pid files in libvirt's way: a write lock of fcntl(2) on the first byte of a file
 * that holds our pid. The kernel drops the lock when the process ends, however it ends. Invariant:
 * the file is opened once, since closing any other descriptor of it would drop the lock.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct daemon_lock;

/* Takes the lock `path`, whose folder is made with mode `folder_mode` if it is missing. If another
 * process has it: ERROR_RESOURCE_BUSY, naming that process; `remedy` says what to do then. Not
 * before the last fork. */
struct daemon_lock *daemon_lock_new(const char *path, mode_t folder_mode, const char *remedy,
                                    GError **error);
/* Removes the file, then lets go of the lock. */
void daemon_lock_free(struct daemon_lock *lock);

typedef struct daemon_lock daemon_lock_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_lock_t, daemon_lock_free)
