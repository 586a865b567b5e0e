/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the header of a qcow2 image (QEMU, docs/interop/qcow2.txt): what it says, and where a LUKS
 * header lies in the image. It knows no key; the bytes of the LUKS header are others' business.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values of crypt_method. */
enum { QCOW2_CRYPT_NONE = 0, QCOW2_CRYPT_AES = 1, QCOW2_CRYPT_LUKS = 2 };

struct qcow2_header {
    uint32_t version; /* 2 or 3: compat 0.10 or 1.1 */
    uint32_t cluster_bits;
    uint64_t size; /* bytes that a guest sees */
    uint32_t crypt_method;
    uint64_t luks_offset; /* bytes; 0 without QCOW2_CRYPT_LUKS */
    uint64_t luks_length;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t refcount_order;
    uint32_t snapshots;
    bool lazy_refcounts;
    bool extended_l2;
    char *backing_path;   /* as it is written there, or NULL */
    char *backing_format; /* or NULL */
};

/* A file that is no qcow2 image, or a damaged one, is an error naming `path`. */
bool qcow2_header_read(int fd, const char *path, struct qcow2_header *ret_header, GError **error);
void qcow2_header_clear(struct qcow2_header *header);

/* Turns an empty image without encryption, that nobody has open, into one with LUKS: `luks` is a
 * whole LUKS header up to its payload offset. Not flushed. */
bool qcow2_header_put_luks(int fd, const char *path, const void *luks, size_t len, GError **error);

typedef struct qcow2_header qcow2_header_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(qcow2_header_t, qcow2_header_clear)
