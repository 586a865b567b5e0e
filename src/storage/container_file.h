/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: making a file in the folder of a pool without following what others put there: under a
 * temporary name, and under its own when it is whole.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/volume_def.h"
#include "storage/progress.h"

/* A new empty file, open for reading and writing, mode 0600. ERROR_STORAGE_VOL_EXIST if anything
 * has that name. */
int container_file_make(const char *path, GError **error);

/* Owner, group and mode of a volume's XML; unset: 0600, us. */
bool container_file_set_permissions(int fd, const char *path,
                                    const struct volume_permissions *permissions, GError **error);

/* Opens the file or device for reading (and writing), no symbolic link in a folder of files.
 * A missing one is ERROR_NO_STORAGE_VOL. */
int container_file_open(const char *path, bool is_readonly, GError **error);

/* Whether copy-on-write is turned off for it (btrfs). */
bool container_file_is_nocow(int fd);

/* Blocks for bytes `offset` to `offset + length`. ERROR_OPERATION_FAILED on a full disk. */
bool container_file_allocate(int fd, const char *path, uint64_t offset, uint64_t length,
                             struct storage_progress *progress, GError **error);

/* Gives the flushed file its own name, durably; ERROR_STORAGE_VOL_EXIST if that is taken. */
bool container_file_publish(const char *temporary, const char *path, GError **error);

/* The same, replacing what has that name. */
bool container_file_replace(const char *temporary, const char *path, GError **error);
