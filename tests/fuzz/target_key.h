/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the master key of the golden files that corpora start from: the bytes 0, 1, 2, ...
 */
#pragma once

#include "master/master_key.h"

static inline struct master_key *
target_key_new(void)
{
    uint8_t raw[MASTER_KEY_SIZE];

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)i;
    return master_key_new(secret_buf_take_bytes(raw, sizeof(raw), NULL), NULL);
}
