/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the LUKS1 header of an image that QEMU opens, while it is worked on: a copy in a memfd,
 * which libcryptsetup takes for a file. It holds keyslots, no key. Where it lies in the image is
 * the backends' business.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/encryption.h"
#include "storage/luks.h"
#include "util/file.h"
#include "util/secret_buf.h"

struct luks_image {
    file_fd fd;
    char path[32];   /* for struct luks_place */
    uint64_t length; /* bytes, up to the payload */
};
void luks_image_clear(struct luks_image *image);

/* A new header, opened with `key` to prove it. */
bool luks_image_make(const struct encryption *encryption, const struct secret_buf *key,
                     bool key_is_generated, struct luks_image *ret_image, GError **error);

/* A copy of the header at `offset` of `fd`; errors name `name`. */
bool luks_image_load(int fd, const char *name, uint64_t offset, uint64_t length,
                     struct luks_image *ret_image, GError **error);

struct luks_place luks_image_place(const struct luks_image *image);

/* All its bytes. */
GBytes *luks_image_get_bytes(const struct luks_image *image, GError **error);

/* Compares it with what is at `offset` of `fd`. */
bool luks_image_verify(const struct luks_image *image, int fd, const char *name, uint64_t offset,
                       GError **error);

/* Writes the header to `offset` of `fd`, flushes, and compares what is there then. */
bool luks_image_write(const struct luks_image *image, int fd, const char *name, uint64_t offset,
                      GError **error);

/* The same for a header in use whose keyslots were changed: what differs alone is written, key
 * material before the head that names it, each flushed, so that a power failure leaves the old
 * keyslots or the new ones. */
bool luks_image_write_changes(const struct luks_image *image, int fd, const char *name,
                              uint64_t offset, GError **error);

/* Overwrites `length` bytes at `offset` of `fd`, flushed: keyslots are lost, and with them all. */
bool luks_image_erase(int fd, const char *name, uint64_t offset, uint64_t length, GError **error);

typedef struct luks_image luks_image_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(luks_image_t, luks_image_clear)
