/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what all fuzz targets have.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

/* A target aborts when what it checks does not hold. */
static inline void
check(bool holds)
{
    if (!holds)
        abort();
}
