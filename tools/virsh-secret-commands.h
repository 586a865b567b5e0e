/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files of the secret commands share. Each function prints its errors and returns
 * false after one.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/protocol/remote_secret.h"
#include "tools/command.h"
#include "tools/session.h"

/* The secret that the option `secret` names by its uuid. The caller clears it. */
bool virsh_secret_lookup(struct session *session, const struct command_args *args,
                         struct remote_nonnull_secret *ret_secret);

bool virsh_secret_set_value(struct session *session, const struct command_args *args);
bool virsh_secret_get_value(struct session *session, const struct command_args *args);
bool virsh_secret_list(struct session *session, const struct command_args *args);
bool virsh_secret_event(struct session *session, const struct command_args *args);

void virsh_secret_clear(struct remote_nonnull_secret *secret);
typedef struct remote_nonnull_secret remote_nonnull_secret_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(remote_nonnull_secret_t, virsh_secret_clear)
