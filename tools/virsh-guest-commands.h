/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files of the commands for guests and their keys share. Each function prints its
 * errors and returns false after one.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "tools/command.h"
#include "tools/libvirt_host.h"
#include "tools/session.h"
#include "util/uuid.h"

/* A guest as it was named: by its uuid, or by a name or id that libvirt knows, or else (it is gone,
 * or libvirt does not answer) a name that virtcryptd knows. */
struct virsh_guest {
    struct uuid uuid;
    char *name; /* its name, or what it was named by */
};
bool virsh_guest_find(struct session *session, const char *text, struct virsh_guest *ret_guest);
void virsh_guest_clear(struct virsh_guest *guest);
typedef struct virsh_guest virsh_guest_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virsh_guest_t, virsh_guest_clear)

/* Of the option `name`, which may be missing. */
bool virsh_guest_get(struct session *session, const struct command_args *args, const char *name,
                     bool *ret_is_given, struct virsh_guest *ret_guest);

/* By the name in virtcryptd's own list; false without an error if it has none of that name. */
bool virsh_guest_find_known(struct session *session, const char *text,
                            struct virsh_guest *ret_guest, GError **error);

/* Which of both to print: that there are several guests of that name, or what libvirt said. */
const GError *virsh_guest_choose_error(const GError *libvirts, const GError *lists);

/* The secret of that uuid, or of that usage, which virtcrypt-secretd knows. */
bool virsh_guest_find_secret(struct session *session, const char *text, struct uuid *ret_secret);

bool virsh_guest_attach_volume(struct session *session, const struct command_args *args);
bool virsh_guest_check(struct session *session, const struct command_args *args);
bool virsh_guest_create(struct session *session, const struct command_args *args);
bool virsh_guest_define(struct session *session, const struct command_args *args);
bool virsh_guest_list(struct session *session, const struct command_args *args);
bool virsh_guest_migrate(struct session *session, const struct command_args *args);
