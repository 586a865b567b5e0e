/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is on a device or in a file already, by libblkid: file systems, partition tables, RAID
 * and LVM members, LUKS headers.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* ERROR_OPERATION_FAILED if `path` holds something: the text names it ("ext4 file system 'home'"),
 * the offset, and what to say to overwrite it. */
bool signature_check_none(const char *path, GError **error);

/* Removes all signatures (as wipefs -a), flushed. */
bool signature_wipe(const char *path, GError **error);
