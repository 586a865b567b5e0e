/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files of the volume commands share. Each function prints its errors and returns
 * false after one.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/protocol/virtcrypt_volume.h"
#include "tools/command.h"
#include "tools/session.h"
#include "util/secret_buf.h"
#include "util/uuid.h"

/* The volume that the options `vol` (a name, or a path) and `pool` name. The caller clears it. */
bool virsh_volume_lookup(struct session *session, const struct command_args *args,
                         struct virtcrypt_volume_entry *ret_volume);

/* A size in bytes, of a text or of an option that may be missing. */
bool virsh_volume_parse_size(const char *text, uint64_t *ret_size);
bool virsh_volume_get_size(const struct command_args *args, const char *name, bool *ret_has_size,
                           uint64_t *ret_size);

/* The bytes that the option `key` names (a file, or "-": asked for, twice if it is `is_new`), an
 * empty buffer without that option. NULL after an error. */
struct secret_buf *virsh_volume_read_key(const struct command_args *args, bool is_new);

/* The uuid of the option `secret`, if it is there. */
bool virsh_volume_get_secret(const struct command_args *args, bool *ret_has_secret,
                             struct uuid *ret_secret);

/* Starts a job by `start` with `call` and waits for its end. Warnings are printed; a failure is
 * `error`, for the caller to print. */
struct virsh_volume_job {
    const char *label;
    const void *call;
    bool (*start)(struct rpc_client *client, const void *call, struct virtcrypt_volume_job_ret *ret,
                  GError **error);
};
bool virsh_volume_run_job(struct session *session, const struct virsh_volume_job *job,
                          struct virtcrypt_volume_job_ret *ret_end, GError **error);

bool virsh_volume_create(struct session *session, const struct command_args *args);
bool virsh_volume_adopt(struct session *session, const struct command_args *args);
bool virsh_volume_clone(struct session *session, const struct command_args *args);
bool virsh_volume_delete(struct session *session, const struct command_args *args);
bool virsh_volume_wipe(struct session *session, const struct command_args *args);
bool virsh_volume_resize(struct session *session, const struct command_args *args);
bool virsh_volume_rekey(struct session *session, const struct command_args *args);
bool virsh_volume_open(struct session *session, const struct command_args *args);
bool virsh_volume_close(struct session *session, const struct command_args *args);
bool virsh_volume_info(struct session *session, const struct command_args *args);
bool virsh_volume_list(struct session *session, const struct command_args *args);
bool virsh_volume_dumpxml(struct session *session, const struct command_args *args);
bool virsh_volume_path(struct session *session, const struct command_args *args);
bool virsh_volume_pool_policy(struct session *session, const struct command_args *args);

void virsh_volume_clear(struct virtcrypt_volume_entry *volume);
typedef struct virtcrypt_volume_entry virtcrypt_volume_entry_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virtcrypt_volume_entry_t, virsh_volume_clear)
typedef struct virtcrypt_volume_job_ret virtcrypt_volume_job_ret_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virtcrypt_volume_job_ret_t, virtcrypt_volume_job_ret_clear)
