/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what container.c calls for each kind of container. Not for others.
 */
#pragma once

#include "storage/container.h"

/* Making the folder's changes durable, after a file of it was made, renamed or unlinked. */
bool container_file_sync_folder(const char *path, GError **error);

/* As the calls of container.h for a file in a folder. */
bool container_file_create(const struct container_params *params, struct storage_progress *progress,
                           GError **error);
bool container_file_resize(const char *path, uint64_t size, bool preallocate, GError **error);
bool container_file_remove(const char *path, GError **error);

/* As the calls of container.h for a logical volume of the volume group `group`. */
bool container_lvm_create(const char *group, const char *name, uint64_t size, GError **error);
bool container_lvm_resize(const char *group, const char *name, uint64_t old_size, uint64_t new_size,
                          GError **error);
bool container_lvm_is_ours(const char *group, const char *name, bool *ret_is_ours, GError **error);
bool container_lvm_remove(const char *group, const char *name, GError **error);
bool container_lvm_activate(const char *group, const char *name, GError **error);
/* "/dev/GROUP/NAME" taken apart; false for another path. */
bool container_lvm_split_path(const char *path, char **ret_group, char **ret_name);
