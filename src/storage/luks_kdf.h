/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how costly a new keyslot is made. libcryptsetup's own measurement counts the processor time
 * of the whole process, or time on the clock: with other work under way it would choose a weaker
 * setting, so PBKDF2 is measured here, by the processor time of the one thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "storage/luks_context.h"

/* Sets the cost of keyslots that are made in the context from here on. `hash` is of PBKDF2. */
bool luks_kdf_choose(const struct luks_context *context, enum luks_type type, enum luks_kdf kdf,
                     const char *hash, GError **error);

/* Argon2 takes a gibibyte: one at a time. A no-op (NULL) for anything else. */
GMutexLocker *luks_kdf_take_turn(enum luks_type type, enum luks_kdf kdf);
