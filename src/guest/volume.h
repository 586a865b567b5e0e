/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: whether a volume that a key belongs to is still on this host. A key is erased for "gone":
 * so everything that is not surely gone counts as there. A path below /dev never is: a device comes
 * and goes with logins, activations and cables. A file is gone if the folder that it was seen
 * in is there, without it, and its file system knows it no more: not if that is not mounted, or if
 * the file was moved.
 */
#pragma once

#include <stdbool.h>

#include "conf/guest_record.h"
#include "storage/service.h"

/* `place`: as guest_volume_find_place gave it when the volume was there; NULL: never. */
bool guest_volume_exists(struct storage_service *storage, const char *path, const char *place);

/* The same, but for records of volumes of ours. */
bool guest_volume_may_be_there(const char *path, const char *place);

/* Where the volume, or a link of that name, is now: text for one line. NULL: it is not there, or
 * where what is missing is not gone. Free. */
char *guest_volume_find_place(const char *path);
/* Whether both name one file. */
bool guest_volume_is_same(const char *path, const char *other);
/* Whether the key's volume is another one than `volume` and may stay where it is. */
bool guest_volume_leaves(struct storage_service *storage, const struct guest_key *key,
                         const char *volume);
/* From now on it is the key's (NULL: not known); where it is, if it is there now, is taken down. */
void guest_volume_set(struct storage_service *storage, struct guest_key *key, const char *volume);
