/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading a value out of a file that libvirt's own driver left: UUID.base64 (in clear) or
 * UUID.aes256cbc (libvirt 12.1 and later). Any thread may do so.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret/libvirt_key.h"
#include "secret/store_parts.h"
#include "util/secret_buf.h"

enum libvirt_value_content {
    LIBVIRT_VALUE_NONE,   /* there is no file */
    LIBVIRT_VALUE_EMPTY,  /* or there is nothing in it, which is no value */
    LIBVIRT_VALUE_ZEROS,  /* a wipe was interrupted, or the disk's file system */
    LIBVIRT_VALUE_BAD,    /* no such file's contents */
    LIBVIRT_VALUE_CLOSED, /* of UUID.aes256cbc: the right key is not here, or it is damaged */
    LIBVIRT_VALUE_GOOD,
};

/* The value; NULL unless *ret_content is LIBVIRT_VALUE_GOOD, with an error if it is BAD or CLOSED.
 * `kind` is STORE_BASE64, or STORE_AES256CBC: for that one `key`. */
struct secret_buf *libvirt_value_read(int dir_fd, const struct uuid *uuid, enum store_kind kind,
                                      const struct libvirt_key *key,
                                      enum libvirt_value_content *ret_content, GError **error);

/* What the key, which is there, makes of a file, for libvirt_key_weigh. */
enum libvirt_value_trial {
    LIBVIRT_VALUE_OPENS,
    LIBVIRT_VALUE_FAILS,
    LIBVIRT_VALUE_UNKNOWN, /* no such file's contents */
};
enum libvirt_value_trial libvirt_value_try(int dir_fd, const struct uuid *uuid,
                                           const struct libvirt_key *key);
