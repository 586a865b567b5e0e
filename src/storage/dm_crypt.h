/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the parts of the dm-crypt backend share: where the parts of a volume are. Making,
 * wiping and removing are in dm_crypt_make.c, the rest in backend_dm_crypt.c.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/backend.h"
#include "storage/luks.h"

enum luks_type dm_crypt_type(const struct volume_record *record);
/* `path` is the record's device, or the temporary file that is to become it. */
struct luks_place dm_crypt_place(const struct volume_record *record, const char *path);
/* Whether sectors are authenticated: such a volume keeps its size. */
bool dm_crypt_has_integrity(const struct volume_record *record);

/* The checks of a new volume, and what it is given for its payload: bytes, whole sectors. */
bool dm_crypt_check(const struct backend_create_params *params, GError **error);
bool dm_crypt_create(const struct backend_create_params *params,
                     const struct backend_source *source, struct storage_progress *progress,
                     GError **error);
bool dm_crypt_wipe(const struct volume_record *record, unsigned int algorithm,
                   const struct secret_buf *key, bool key_is_generated,
                   struct storage_progress *progress, GError **error);
bool dm_crypt_remove(const struct pool_def *pool, const struct volume_record *record,
                     GError **error);
