/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the process as a daemon: its limits and privacy, and its way into the background.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* No core, no ptrace by others of this user, files for us alone, as much locked memory as is
 * allowed, and descriptors for `max_clients`. What can't be had is logged. */
void daemon_process_harden(unsigned int max_clients);

/* The line that the parent of a daemon in the background waits on. */
struct daemon_process_parent;

/* Forks; returns in the child alone, in a session of its own and in "/". The parent waits for
 * daemon_process_tell_ready, then exits with 0, or with 1 when the child ends before. Not once
 * there are threads or secrets in memory. */
struct daemon_process_parent *daemon_process_go_background(GError **error);

/* The parent exits; our standard streams go to /dev/null. NULL (not in the background): nothing. */
void daemon_process_tell_ready(struct daemon_process_parent *parent);
/* Without having told: the parent reports failure. */
void daemon_process_parent_free(struct daemon_process_parent *parent);

typedef struct daemon_process_parent daemon_process_parent_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(daemon_process_parent_t, daemon_process_parent_free)
