/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the two kinds of images that QEMU opens (backend_qcow2.c, backend_raw.c) have in
 * common: refusals, what a clone is copied from, and whether a guest has an image open.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/backend.h"
#include "storage/container.h"

/* Refuses encryption that QEMU does not open, and a key that it could not be given. */
bool image_check_encryption(const struct backend_create_params *params, GError **error);

/* Bytes that a guest is to see: as the XML says, but not less than `source` has. */
bool image_find_capacity(const struct backend_create_params *params,
                         const struct backend_source *source, uint64_t *ret_capacity,
                         GError **error);

/* How many bytes a guest sees in it; without running a program for the formats that are our own. */
bool image_get_capacity(const struct backend_source *source, uint64_t *ret_capacity,
                        GError **error);

/* Opens a keyslot of it with its key (nothing to do if it has no encryption): a wrong key, none
 * for an image that has LUKS, and one for an image without are errors naming it. */
bool image_check_key(const struct backend_source *source, GError **error);

/* Whether anything was ever written to it through its encryption: a LUKS image in a file may
 * consist of its header alone. What else it is, is true. */
bool image_source_is_written(const struct backend_source *source);

/* ERROR_RESOURCE_BUSY if a program of QEMU has the image open, by QEMU's own locks. */
bool image_check_unused(int fd, const char *path, GError **error);

/* Whether a volume that has `present` bytes may be resized as is asked. */
bool image_check_resize(const struct backend_resize_params *params, uint64_t present,
                        GError **error);

/* A virStorageVolWipeAlgorithm of those that make sense where keys are lost first. */
bool image_find_wipe(unsigned int algorithm, enum container_wipe *ret_how, GError **error);

/* Whether all of a volume is to have blocks from the start. */
bool image_wants_allocation(const struct volume_def *def, uint64_t capacity);

/* An open file's own owner, group and mode. */
bool image_get_permissions(int fd, const char *path, struct volume_permissions *ret_permissions,
                           GError **error);

/* Of a volume that a guest sees as raw bytes: an image, or an opened device. */
struct volume_def *image_describe_raw(const struct volume_record *record,
                                      const struct backend_info *info, GError **error);

/* Says of a key that did not open it which image it was. */
void image_name_in_error(const char *path, GError **error);
