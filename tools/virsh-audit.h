/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the command audit, of the daemons' group.
 */
#pragma once

#include "tools/command.h"
#include "tools/session.h"

bool virsh_audit(struct session *session, const struct command_args *args);
