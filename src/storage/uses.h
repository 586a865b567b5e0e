/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: who uses which opened dm-crypt volume: guests (by uuid), and people by vol-open. Kept as
 * files below RUNSTATEDIR/libvirt/virtcrypt/uses, which live as long as mappings do: over restarts
 * of daemons, not of the host. Thread-safe.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/uuid.h"

enum storage_user_kind {
    STORAGE_USER_GUEST,
    STORAGE_USER_MANUAL, /* virtcrypt vol-open */
    STORAGE_USER_STREAM, /* vol-upload, vol-download: gone after a restart */
};

struct storage_user {
    enum storage_user_kind kind;
    struct uuid guest; /* GUEST; STREAM: any that is its own */
    char *name;        /* of the guest, for texts; else NULL */
    bool is_readonly;
};

struct storage_uses;
struct storage_uses *storage_uses_new(const char *dir, GError **error);
void storage_uses_free(struct storage_uses *uses);

/* Adding twice is once. */
bool storage_uses_add(struct storage_uses *uses, const char *pool, const char *volume,
                      const struct storage_user *user, GError **error);
bool storage_uses_remove(struct storage_uses *uses, const char *pool, const char *volume,
                         const struct storage_user *user, GError **error);
unsigned int storage_uses_count(struct storage_uses *uses, const char *pool, const char *volume);
/* "guest 'web1' and virtcrypt vol-open", for error texts; NULL: nobody. */
char *storage_uses_describe(struct storage_uses *uses, const char *pool, const char *volume);
/* Volumes (of struct storage_use_place) that a guest uses. */
struct storage_use_place {
    char *pool;
    char *volume;
};
void storage_use_place_free(struct storage_use_place *place);
GPtrArray *storage_uses_of_guest(struct storage_uses *uses, const struct uuid *guest);

/* Whether there are users, and all of them only read. */
bool storage_uses_is_readonly(struct storage_uses *uses, const char *pool, const char *volume);

/* Drops the uses of guests that are not among `running` (of struct uuid) and not younger than
 * `grace_s` (a start under way). */
void storage_uses_drop_missing(struct storage_uses *uses, GPtrArray *running, unsigned int grace_s);
