/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: whether a volume that a key belongs to is still on this host. A key is erased for "gone":
 * so everything that is not surely gone counts as there.
 */
#pragma once

#include <stdbool.h>

#include "storage/service.h"

bool guest_volume_exists(struct storage_service *storage, const char *path);

/* Whether `path` is below a mount point of the file `fstab` where nothing is mounted now, by the
 * file `mounts` (/proc/self/mounts). */
bool guest_volume_is_unmounted(const char *path, const char *fstab, const char *mounts);
