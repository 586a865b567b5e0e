/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the commands of the group "master", for its table in virsh-master.c.
 */
#pragma once

#include "tools/command.h"
#include "tools/session.h"

/* virsh-master-slots.c */
bool virsh_master_add_slot(struct session *session, const struct command_args *args);
bool virsh_master_remove_slot(struct session *session, const struct command_args *args);
bool virsh_master_change_passphrase(struct session *session, const struct command_args *args);

/* virsh-master-rotate.c */
bool virsh_master_rotate(struct session *session, const struct command_args *args);

/* virsh-master-unlock.c */
bool virsh_master_test_slot(struct session *session, const struct command_args *args);
bool virsh_master_unlock(struct session *session, const struct command_args *args);
bool virsh_master_lock(struct session *session, const struct command_args *args);

/* virsh-unlock.c */
bool virsh_unlock(struct session *session, const struct command_args *args);
