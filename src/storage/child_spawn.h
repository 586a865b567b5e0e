/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how another program is started: its descriptors, its environment, its process group.
 * child.c waits for it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "util/file.h"
#include "util/secret_buf.h"

/* Beside the three standard ones a program gets these descriptors, from 3 on. */
enum { CHILD_SPAWN_FDS = 4 };

struct child_process {
    pid_t pid; /* also its process group */
    file_fd pid_fd;
    file_fd output_fd; /* not blocking */
    file_fd errors_fd; /* not blocking */
};

/* Starts the program of path argv[0], with fds[i] (unless -1) as its descriptor 3 + i, no others,
 * nothing to read, and an environment of PATH and LC_ALL. */
bool child_spawn(const char *const *argv, const int fds[CHILD_SPAWN_FDS],
                 struct child_process *ret_process, GError **error);
