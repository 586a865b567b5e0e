/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the group of commands for the master key: its slots, locking and unlocking, and rotation.
 */
#pragma once

#include "tools/command.h"

extern const struct command_group master_commands;
