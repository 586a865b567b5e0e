/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the filter of system calls. What is let through is what the code that is linked into this
 * program has declared (util/syscalls.h), some of it with certain arguments alone, and what
 * libraries need; everything else fails with EPERM. Calls are never a reason to be killed: a
 * library may try one and live without.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* For good, and for threads that are started from now on. False with an error: nothing is filtered.
 */
bool sandbox_calls_filter(GError **error);

/* The declared names, each once; those that this architecture does not have are left out. */
GPtrArray *sandbox_calls_list(void);

/* Whether some arguments of the declared call are refused. */
bool sandbox_calls_is_restricted(const char *name);
