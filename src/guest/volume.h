/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: whether a volume that a key belongs to is still on this host. A key is erased for "gone":
 * so everything that is not surely gone counts as there. A path below /dev never is: a device comes
 * and goes with logins, activations and cables. A file is gone if the file system that it was seen
 * on is at its folder, without it: not if that is not mounted.
 */
#pragma once

#include <stdbool.h>

#include "conf/guest_record.h"
#include "storage/service.h"

/* `place`: as guest_volume_find_place gave it when the volume was there; NULL: never. */
bool guest_volume_exists(struct storage_service *storage, const char *path, const char *place);

/* The identity of the file system of the volume's folder ("TYPE:ID"); NULL unless the volume, or a
 * link of that name, is there now. Free. */
char *guest_volume_find_place(const char *path);
/* Takes down in the key where its volume is, if that is there now. */
void guest_volume_note(struct guest_key *key);
