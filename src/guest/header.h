/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: looking at the LUKS header of a guest's volume as QEMU will see it: whether there is one,
 * and whether a key opens it. Nothing is changed. It knows no guest and no record.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/secret_buf.h"

enum guest_header {
    GUEST_HEADER_NONE,  /* no such file or device */
    GUEST_HEADER_CLEAR, /* not encrypted */
    GUEST_HEADER_LUKS,
};

/* `format` is that of the disk ("qcow2", "raw"; NULL is raw): a guest may have written anything to
 * a raw one. What can't be read, or is no image of that format, is an error naming `path`. */
bool guest_header_find(const char *path, const char *format, enum guest_header *ret_header,
                       GError **error);

/* Opens a keyslot. ERROR_AUTH_FAILED: the key is wrong; ERROR_NO_STORAGE_VOL: there is no such
 * file; ERROR_CONFIG_UNSUPPORTED: it is not encrypted with LUKS; others: it can't be read. */
bool guest_header_test(const char *path, const char *format, const struct secret_buf *key,
                       GError **error);
