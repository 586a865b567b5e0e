/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the privacy of a process that works on a store without a daemon.
 */
#pragma once

/* No core dumps, no tracing, files for their owner alone, memory that can be locked. Before
 * anything is read. */
void offline_process_harden(void);
