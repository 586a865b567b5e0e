/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the keys of golden files, and their bytes.
 */
#pragma once

#include <glib.h>
#include <string.h>

#include "master/master_key.h"

/* The bytes `first`, `first` + `step`, ... */
static inline struct master_key *
golden_key_new(uint8_t first, uint8_t step)
{
    uint8_t raw[MASTER_KEY_SIZE];

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)(first + i * step);
    return master_key_new(secret_buf_take_bytes(raw, sizeof(raw), NULL), NULL);
}

static inline void
golden_parse(const char *hex, uint8_t *to, size_t len)
{
    g_assert_cmpuint(strlen(hex), ==, 2 * len);
    for (size_t i = 0; i < len; i++)
        to[i] =
            (uint8_t)(g_ascii_xdigit_value(hex[2 * i]) * 16 + g_ascii_xdigit_value(hex[2 * i + 1]));
}
