/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the commands about virtcrypt-secretd's store as a whole.
 */
#pragma once

#include "tools/command.h"

extern const struct command_group store_commands;
