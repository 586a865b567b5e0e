/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a disk that is full, for this process: files that can't grow.
 */
#pragma once

#include <glib.h>
#include <signal.h>
#include <sys/resource.h>

/* A full disk, as far as one process can have it: writes behind the limit fail. */
static inline void
limit_file_size(size_t size)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    limit.rlim_cur = size > 0 ? size : limit.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}
