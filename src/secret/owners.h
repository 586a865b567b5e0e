/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a set of guests that own a secret: an array of struct uuid in ascending order, NULL when
 * there is none, so that the many secrets without an owner cost nothing.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/uuid.h"

guint owners_count(const GArray *owners);
const struct uuid *owners_at(const GArray *owners, guint index);
bool owners_has(const GArray *owners, const struct uuid *guest);
/* All of them, as an array; NULL if there is none. */
const struct uuid *owners_data(const GArray *owners);
/* How many are not above `guest`: the index of the next one. */
guint owners_count_until(const GArray *owners, const struct uuid *guest);

GArray *owners_copy(const GArray *owners);
/* No effect on what is there, or is not, already. The last one that goes leaves NULL. */
void owners_add(GArray **owners, const struct uuid *guest);
void owners_remove(GArray **owners, const struct uuid *guest);

typedef GArray owners_t; /* for g_autoptr only */
void owners_free(GArray *owners);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(owners_t, owners_free)
