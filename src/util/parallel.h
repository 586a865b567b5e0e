/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: doing many small independent pieces of work at a time, and waiting for them.
 */
#pragma once

#include <stddef.h>

/* Piece `index` of the work. Touches only what is its own, and what all of them only read. */
typedef void (*parallel_func)(size_t index, void *opaque);

/* Calls `func` for 0 to `count` - 1, in no order, and returns when all are done. The caller's
 * thread takes part; no others are left afterwards. */
void parallel_run(size_t count, parallel_func func, void *opaque);

/* The same for pieces that wait for the disk and hardly compute: more threads than processors. */
void parallel_run_waiting(size_t count, parallel_func func, void *opaque);

/* The same for pieces that wait for somebody who takes no more than `limit` of them at a time. */
void parallel_run_limited(size_t count, size_t limit, parallel_func func, void *opaque);
