/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the group of commands for guests.
 */
#pragma once

#include "tools/command.h"

extern const struct command_group guest_commands;
