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

/* Argon2 takes up to a gibibyte: one at a time in this process. To be held while a keyslot is tried
 * or (`is_argon2`) made; NULL where the header has none of that kind. Taken before the lock of
 * luks_context.h. */
GMutexLocker *luks_kdf_take_turn(const struct luks_context *context, bool is_argon2);
