/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: where an opened dm-crypt volume appears: the device-mapper name that belongs to a pool and
 * a volume, /dev/virtcrypt/POOL/VOLUME and the alias in the pool (links to it), and the loop device
 * under a container that is a file.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/volume_record.h"
#include "storage/luks.h"
#include "util/secret_buf.h"

/* "virtcrypt-POOL-VOLUME" with what device-mapper does not take escaped; always the same for the
 * same two names, and never for others. */
char *mapping_name(const char *pool, const char *volume);
/* "DEVICE_DIR/POOL/VOLUME" */
char *mapping_path(const char *device_dir, const char *pool, const char *volume);

struct mapping_params {
    const char *device_dir; /* "/dev/virtcrypt" */
    const struct volume_record *record;
    const char *alias; /* a second link (predicted by clients from the pool), or NULL */
};

/* Opens the volume and makes the links; already open: makes the links only. */
bool mapping_open(const struct mapping_params *params, bool readonly, const struct secret_buf *key,
                  GError **error);
/* Removes links, mapping and loop device. In use by a process: ERROR_RESOURCE_BUSY, links stay. */
bool mapping_close(const struct mapping_params *params, GError **error);
bool mapping_is_open(const struct volume_record *record);

/* ---- for backend_dm_crypt.c: a container without links, under a name of the caller's ---- */

/* LUKS_NONE: either version. */
enum luks_type mapping_luks_type(const struct encryption *encryption);
/* Through a loop device if it is a file. */
bool mapping_open_container(const struct encryption *encryption, const char *device,
                            const char *name, bool readonly, const struct secret_buf *key,
                            GError **error);
