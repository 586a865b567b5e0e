/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the processor's vector registers, as a place where key bytes stay: memcpy and ciphers pass
 * them through there, and a core has the registers of every thread.
 */
#pragma once

/* Clears those that a function may leave anything in, in this thread. A few nanoseconds. */
void registers_wipe(void);
