/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: unsigned numbers of 1 to 8 bytes, most significant first, as all our file formats have
 * them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline void
big_endian_put(uint8_t *to, uint64_t value, size_t size)
{
    for (size_t i = size; i > 0; i--, value >>= 8)
        to[i - 1] = (uint8_t)value;
}

static inline uint64_t
big_endian_get(const uint8_t *from, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | from[i];
    return value;
}
