/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the XML of a disk that is one of our volumes. Pure.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "tools/volume_spec.h"
#include "util/uuid.h"

struct attach_disk {
    enum volume_spec_kind kind;
    bool is_block; /* the path is a block device */
    const char *path;
    const char *target;        /* "vdb" */
    const char *serial;        /* or NULL */
    const struct uuid *secret; /* of a volume that QEMU opens */
    bool is_readonly;
};

char *attach_disk_format(const struct attach_disk *disk);

/* The first name of a virtio disk that `domain_xml` does not have; NULL if it has all. */
char *attach_disk_free_target(const char *domain_xml);
