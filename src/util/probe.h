/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading with a bound on time what may never answer: a file on a network mount that is dead,
 * whose reader nobody can interrupt. A probe has a thread of its own. Who waited too long leaves it
 * behind with what it has; when it comes back, it frees that. Their number is limited.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum { PROBE_DEFAULT_MS = 10 * 1000 };

struct probe {
    const char *object;      /* "the key file PATH": in errors, and what tells probes apart */
    unsigned int timeout_ms; /* 0: PROBE_DEFAULT_MS */
    const gint *cancel;      /* atomic; not 0: waits 0.1 s at most; or NULL */
    /* Only reads: what was left behind must change nothing when it comes back. In a thread that
     * has none of the process's descriptors but the first three, and so may not log. */
    void (*run)(void *data);
    GDestroyNotify free_data;
};

/* Runs it and gives `take_data` back, with what it found. NULL: it did not answer in time, or it
 * was cancelled (ERROR_OPERATION_TIMEOUT, ERROR_OPERATION_ABORTED), and the data is not the
 * caller's any more. As long as one of before is stuck at the same object, only few more are
 * tried, and the others fail at once. Any thread. */
void *probe_run(const struct probe *probe, void *take_data, GError **error);

/* How many have been left behind and are stuck. */
size_t probe_count_stuck(void);

/* For the end of a program, after all is closed: if some are stuck, ends the process with `status`
 * without what else is done at an end, which may wait for all threads. Else returns. */
void probe_end_process(int status);
