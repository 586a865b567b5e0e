/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how much Argon2id may cost. A slot file is read before anything in it is authenticated, so
 * these bound what one that somebody else wrote can ask for.
 */
#pragma once

enum {
    ARGON2_MEMORY_KIB_MIN = 32, /* 8 for each lane is what Argon2 itself wants */
    ARGON2_MEMORY_KIB_MAX = 1024 * 1024,
    ARGON2_PASSES_MAX = 4096,
    ARGON2_LANES_MAX = 4,
    ARGON2_SALT_MAX = 64,
};

/* Memory times passes: 64 passes over the whole memory, about half a minute. */
#define ARGON2_WORK_KIB_MAX (UINT64_C(64) * ARGON2_MEMORY_KIB_MAX)
