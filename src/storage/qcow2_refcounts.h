/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: taking clusters of a qcow2 image that nobody has open: which are in use is kept in its
 * refcount table and blocks (QEMU, docs/interop/qcow2.txt, "Host cluster management").
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct qcow2_refcounts {
    int fd;
    const char *path;
    uint32_t cluster_bits;
    uint64_t table_offset;   /* changed if the table had to grow */
    uint32_t table_clusters; /* so too */
};

/* Takes `count` clusters in a row behind the end of the image, with what is needed to count them.
 * *ret_offset: where they begin. Entries are 16 bits wide (qemu-img's default). */
bool qcow2_refcounts_append(struct qcow2_refcounts *counts, uint64_t count, uint64_t *ret_offset,
                            GError **error);
