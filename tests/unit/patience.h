/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how much longer than usual a test waits, as tests/lib/host.py reads it: sanitizers and
 * valgrind make all bounds too short.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

static inline unsigned int
patient_ms(unsigned int bound_ms)
{
    const char *patience = g_getenv("VIRTCRYPT_TEST_PATIENCE");

    return bound_ms * (patience ? (unsigned int)MAX(g_ascii_strtoull(patience, NULL, 10), 1) : 1);
}

/* Set by tests/lib/memcheck: valgrind keeps descriptors and memory of its own. */
static inline bool
is_under_memcheck(void)
{
    return g_getenv("VIRTCRYPT_TEST_MEMCHECK") != NULL;
}

/* Of many that are alike: there, a tenth of `count` shows what valgrind can see. */
static inline unsigned int
fewer_under_memcheck(unsigned int count)
{
    return is_under_memcheck() ? count / 10 : count;
}
