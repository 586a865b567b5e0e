/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the commands key-*, for keys that belong to guests.
 */
#pragma once

#include "tools/command.h"

extern const struct command_group key_commands;
