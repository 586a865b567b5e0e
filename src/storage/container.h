/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the room that ciphertext lies in: a file in the folder of a pool, or a logical volume of
 * its volume group. It knows no key.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/pool_def.h"
#include "conf/volume_def.h"
#include "storage/progress.h"

struct container_params {
    const struct pool_def *pool;
    const char *path; /* in the pool: a file that does not exist yet, or /dev/VG/LV */
    uint64_t size;    /* bytes */
    bool preallocate; /* files: all blocks allocated, otherwise sparse */
    bool nocow;       /* files on btrfs */
    const struct volume_permissions *permissions; /* files; unset: mode 0600, root */
};

/* Durable when it returns. ERROR_STORAGE_VOL_EXIST if there is one; a full pool is an error that
 * leaves nothing. */
bool container_create(const struct container_params *params, struct storage_progress *progress,
                      GError **error);
/* Bytes. A missing one is ERROR_NO_STORAGE_VOL naming the path. */
bool container_get_size(const char *path, uint64_t *ret_size, uint64_t *ret_allocation,
                        GError **error);
bool container_resize(const struct pool_def *pool, const char *path, uint64_t size,
                      bool preallocate, GError **error);
/* True as well if there is none. */
bool container_remove(const struct pool_def *pool, const char *path, GError **error);
/* A logical volume that is not active becomes so, ERROR_NO_STORAGE_VOL if there is none; a file:
 * nothing. */
bool container_make_available(const char *path, GError **error);
/* The same for who removes it: that there is none is no error. */
bool container_find(const char *path, bool *ret_exists, GError **error);
/* Whether virtcrypt made the logical volume `path` of that pool, active or not, by its tag; true as
 * well if there is none. */
bool container_is_ours(const struct pool_def *pool, const char *path, bool *ret_is_ours,
                       GError **error);
/* Overwrites `length` bytes at `offset` (0: to the end) once with zeros, or random bytes, or by
 * discarding. */
enum container_wipe { CONTAINER_WIPE_ZERO, CONTAINER_WIPE_RANDOM, CONTAINER_WIPE_TRIM };
bool container_wipe(const char *path, uint64_t offset, uint64_t length, enum container_wipe how,
                    struct storage_progress *progress, GError **error);
