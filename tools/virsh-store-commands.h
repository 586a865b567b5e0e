/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files virsh-store*.c share: the functions of the commands whose table is in
 * virsh-store.c.
 */
#pragma once

#include "tools/command.h"
#include "tools/session.h"

/* virsh-store-accept.c */
bool virsh_store_accept(struct session *session, const struct command_args *args);
/* virsh-store-import.c */
bool virsh_store_import(struct session *session, const struct command_args *args);
/* virsh-store-backup.c */
bool virsh_store_backup(struct session *session, const struct command_args *args);
/* virsh-store-restore.c */
bool virsh_store_restore(struct session *session, const struct command_args *args);
/* virsh-store-verify.c */
bool virsh_store_verify(struct session *session, const struct command_args *args);
/* virsh-store-export.c */
bool virsh_store_export(struct session *session, const struct command_args *args);
