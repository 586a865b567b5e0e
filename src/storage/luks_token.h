/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the LUKS2 token of type "virtcrypt" as JSON, which says which key opens a header:
 * {"type":"virtcrypt","keyslots":[],"secret":UUID,"pool":NAME,"volume":NAME}.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "storage/luks_context.h"

/* Puts it in the place of the one that is there, or adds it. */
bool luks_token_put(const struct luks_context *context, const struct luks_token *token,
                    GError **error);
/* False if there is none, or none that makes sense. */
bool luks_token_get(const struct luks_context *context, struct luks_token *ret_token);
