/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is asked of qemu-img, and how: its words are built here and nowhere else. Formats are
 * always named, none is probed.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/backend.h"
#include "storage/progress.h"
#include "util/secret_buf.h"

struct qemu_img_create_params {
    uint64_t capacity;
    const char *preallocation; /* "off", "metadata", "falloc" */
    const char *compat;        /* or NULL */
    bool lazy_refcounts;
    bool extended_l2;
    bool nocow;
    uint64_t cluster_size;      /* 0: the default */
    const char *backing_path;   /* or NULL */
    const char *backing_format; /* as the image is to say */
};

/* Makes the empty file `fd` a qcow2 image without encryption. The backing file is not opened. */
bool qemu_img_create_qcow2(int fd, const struct qemu_img_create_params *params,
                           struct storage_progress *progress, GError **error);

/* An image that is written to. */
struct qemu_img_target {
    int fd;
    bool is_qcow2; /* false: LUKS itself, or raw */
    bool is_block;
    bool reads_zero;              /* all of it, so far */
    const struct secret_buf *key; /* NULL: it is not encrypted */
};

/* Copies what a guest sees in `source`. */
bool qemu_img_convert(const struct backend_source *source, const struct qemu_img_target *target,
                      struct storage_progress *progress, GError **error);

/* To `capacity` bytes; smaller only if `shrink`. */
bool qemu_img_resize(const struct qemu_img_target *target, uint64_t capacity, bool preallocate,
                     bool shrink, struct storage_progress *progress, GError **error);

/* How many bytes a guest sees in it. No key is needed. */
bool qemu_img_get_capacity(const struct backend_source *source, uint64_t *ret_capacity,
                           GError **error);
