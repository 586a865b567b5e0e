/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of what can be done with a volume of each kind. A backend is handed keys and
 * looks for none; it knows neither records nor guests. Order and recovery are the service's.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/pool_def.h"
#include "conf/volume_def.h"
#include "conf/volume_record.h"
#include "storage/progress.h"
#include "util/secret_buf.h"

struct backend_create_params {
    const struct pool_def *pool;
    const struct volume_def *def;
    const struct volume_record *record; /* path, device, temporary, complete encryption */
    const struct secret_buf *key;
    bool key_is_generated; /* full entropy: the cheap keyslot */
    bool preallocate_metadata;
    bool overwrites;                      /* signatures on an existing device are not in the way */
    const struct secret_buf *backing_key; /* of an encrypted backing file, or NULL */
};

/* Numbers of virStorageVolWipeAlgorithm: those that make sense where keys are lost first. */
enum { BACKEND_WIPE_ZERO = 0, BACKEND_WIPE_RANDOM = 8, BACKEND_WIPE_TRIM = 9 };

/* What is copied from. */
struct backend_source {
    const char *path;   /* an image, or an opened device */
    const char *format; /* "qcow2", "raw": what is in it, under its encryption */
    bool is_luks; /* QEMU opens it with `key`; false: clear to read (also an opened mapping) */
    const struct secret_buf *key;
};

struct backend_resize_params {
    const struct pool_def *pool;
    const struct volume_record *record;
    uint64_t capacity; /* bytes that a guest is to see */
    bool preallocate;
    bool shrink; /* less than now is meant */
    const struct secret_buf *key;
};

struct backend_info {
    enum volume_type type;
    uint64_t capacity;
    uint64_t allocation;
    uint64_t physical;
};

struct backend {
    const char *name; /* as volume_kind_name */
    /* All refusals that need no change: formats, ciphers, options, sizes, pool types. */
    bool (*check)(const struct backend_create_params *params, GError **error);
    /* Makes the volume and proves that the key opens it; durable when it returns. On failure, or
     * when it is killed, `remove` of the same record leaves nothing. With `source`, its contents
     * are copied in (encrypted under the new volume's own key). */
    bool (*create)(const struct backend_create_params *params, const struct backend_source *source,
                   struct storage_progress *progress, GError **error);
    bool (*get_info)(const struct volume_record *record, struct backend_info *ret_info,
                     GError **error);
    /* The volume's definition as it is on disk (capacity, allocation, format, backing file; not
     * name, key, encryption). */
    struct volume_def *(*describe)(const struct volume_record *record, GError **error);
    bool (*check_key)(const struct volume_record *record, const struct secret_buf *key,
                      GError **error);
    bool (*resize)(const struct backend_resize_params *params, struct storage_progress *progress,
                   GError **error);
    /* A keyslot for `new_key` beside that of `key`; then one taken away. */
    bool (*add_key)(const struct volume_record *record, const struct secret_buf *key,
                    const struct secret_buf *new_key, bool new_is_generated, GError **error);
    bool (*remove_key)(const struct volume_record *record, const struct secret_buf *key,
                       GError **error);
    /* Keyslots first, so that the data are lost at once, then the payload by `algorithm`
     * (virStorageVolWipeAlgorithm: ZERO, RANDOM, TRIM), then a new header for `key`. */
    bool (*wipe)(const struct volume_record *record, unsigned int algorithm,
                 const struct secret_buf *key, bool key_is_generated,
                 struct storage_progress *progress, GError **error);
    /* Keyslots, then (record->is_made) the container, `temporary` too. True as well if nothing is
     * there. */
    bool (*remove)(const struct pool_def *pool, const struct volume_record *record, GError **error);
};

extern const struct backend backend_qcow2;
extern const struct backend backend_raw;
extern const struct backend backend_dm_crypt;

const struct backend *backend_find(enum volume_kind kind);
