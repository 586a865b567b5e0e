/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which folders virtcrypt-secretd confines itself to. They are known when it starts: those of
 * its settings and those of the key files that its slots name. It says so itself when a key file
 * elsewhere is wanted later.
 */
#pragma once

#include "daemon/program.h"
#include "secret/daemon_paths.h"

/* Makes the folders that are missing, then confines the process, if the settings say so. */
void daemon_sandbox_enter(const struct daemon_params *params, const struct daemon_paths *paths);
