/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the way of a child from its fork to its program, and word of what failed on it. The parent
 * may have threads, so what is called in the child takes no lock and no memory. Not for a process
 * that confines itself: its system calls are declared nowhere (util/syscalls.h).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* ---- in the child ---- */

/* Leaves the parent's handlers of signals and its process group, and dies with the thread that
 * forked. False with errno set, also if `parent` is gone. */
bool exec_begin(pid_t parent);
/* Runs `program` with no signal blocked. Returns with errno set when that fails. */
void exec_run(const char *program, const char *const *argv, const char *const *environment);
/* Writes errno to `failure_fd`, the writing end of a pipe that closes at an exec. */
void exec_fail(int failure_fd) G_GNUC_NORETURN;

/* ---- in the parent ---- */

/* What failed before the program ran, from the reading end, when the writing one is closed here; 0
 * if nothing did. */
int exec_read_failure(int failure_fd);
