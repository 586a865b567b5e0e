/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: running other programs (qemu-img, LVM's): no shell, a clean environment (PATH, LC_ALL=C),
 * no descriptors but those meant for them, a bound on time, and keys by memfd alone. Never in
 * words, environment or logs. A program dies with the daemon.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "storage/progress.h"
#include "util/secret_buf.h"

/* Under which names a program finds what it is given: for the words of its command line. */
#define CHILD_KEY0  "/proc/self/fd/3"
#define CHILD_KEY1  "/proc/self/fd/4"
#define CHILD_FILE0 "/proc/self/fd/5"
#define CHILD_FILE1 "/proc/self/fd/6"
enum { CHILD_KEYS = 2, CHILD_FILES = 2 };

struct child {
    const char *const *argv;                   /* argv[0] is looked up in PATH */
    const struct secret_buf *keys[CHILD_KEYS]; /* or NULL */
    const int *files[CHILD_FILES];             /* open files, lent; or NULL */
    unsigned int idle_timeout_s; /* killed if it neither ends nor reports for so long; 0: 60 */
    struct storage_progress *progress; /* qemu-img's -p lines go there; its cancel kills; or NULL */
};

/* Runs it to its end. *ret_output (may be NULL) is its standard output. An exit status that is not
 * 0 is ERROR_OPERATION_FAILED with the program, the status and the last line of its standard error
 * (of which no word of a key can be part: it never had one as text). Cancelled, it is killed with
 * all that it started: ERROR_OPERATION_ABORTED; out of time: ERROR_OPERATION_TIMEOUT. */
bool child_run(const struct child *child, char **ret_output, GError **error);
