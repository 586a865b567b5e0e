/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: volumes by the file or device that their paths lead to, found out for all of them at once
 * and kept for a moment: for who asks about many paths. Thread-safe.
 */
#pragma once

#include <glib.h>

#include "storage/records.h"

struct storage_identities;

struct storage_identities *storage_identities_new(struct storage_records *records);
void storage_identities_free(struct storage_identities *identities);

/* As storage_records_get_by_path, but what leads where is known as it was at most a second ago. */
struct volume_record *storage_identities_find(struct storage_identities *identities,
                                              const char *path);
