/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: whom the process belongs to and what it may do beyond that: the change to a user of its own
 * and the giving up of capabilities. Files stay root's: for the file system alone the process goes
 * on as root without any capability (setfsuid(2)), so that stock libvirt, virtcrypt-recover and the
 * daemon without a user of its own go on with the same files. Signals, ptrace and all that asks for
 * the user see the other user.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct own_user {
    uid_t uid;
    gid_t gid;
};

/* Looks the user `name` up; root itself is an error. May load libraries. */
bool own_user_find(const char *name, struct own_user *ret_user, GError **error);

/* Changes to the user. Before there are threads, once all is open that root alone may open. */
bool own_user_enter(const struct own_user *user, GError **error);

/* Gives all capabilities up but that of locking memory; also what programs could get back. */
bool own_user_drop_capabilities(GError **error);
