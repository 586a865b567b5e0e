/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: making the file of an encrypted qcow2 volume: qemu-img makes an image without encryption,
 * libcryptsetup a LUKS header, and the one is put into the other.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/encryption.h"
#include "conf/volume_def.h"
#include "storage/backend.h"
#include "storage/progress.h"
#include "storage/qemu_img.h"
#include "util/secret_buf.h"

struct image_qcow2_params {
    const struct qemu_img_create_params *image;
    const struct encryption *encryption;
    const struct secret_buf *key;
    bool key_is_generated;
    const struct volume_permissions *permissions;
    const struct backend_source *source; /* copied in; or NULL */
};

/* Makes the new file `path`, whole and flushed; a failure leaves none. */
bool image_qcow2_make(const char *path, const struct image_qcow2_params *params,
                      struct storage_progress *progress, GError **error);

/* Gives it its own name; a failure leaves neither. */
bool image_qcow2_publish(const char *temporary, const char *path, GError **error);

bool image_qcow2_flush(int fd, const char *path, GError **error);

/* What a new image beside `path` is called until it takes its place. */
char *image_qcow2_temporary_path(const char *path);
