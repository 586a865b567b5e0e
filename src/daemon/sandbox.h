/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the confinement that a daemon puts itself under once it has opened what it needs: no new
 * privileges, no capabilities, its own folders (sandbox_paths.h), its own system calls
 * (sandbox_calls.h). A daemon that is less confined is better than none: what the kernel does not
 * have is logged.
 */
#pragma once

#include <stddef.h>

#include "daemon/sandbox_paths.h"

/* For good. Before there are threads. What libraries load lazily is loaded first. */
void sandbox_enter(const struct sandbox_path *paths, size_t count);
