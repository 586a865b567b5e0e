/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: opening a keyslot of a header that is loaded. Inside luks_*.c only.
 */
#pragma once

#include <glib.h>

#include "storage/luks_context.h"
#include "util/secret_buf.h"

/* The number of the keyslot that `key` opens, and its volume key (NULL: not wanted); -1 with
 * ERROR_AUTH_FAILED or another error. */
int luks_keyslot_open(const struct luks_context *context, const struct secret_buf *key,
                      struct secret_buf **ret_volume_key, GError **error);
