/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how the methods that need a helper ask it.
 */
#pragma once

#include "master/unlock.h"

/* helper_run within the time of `context`; an error if there is no helper. `key` may be NULL. */
bool unlock_ask(const struct unlock_context *context, enum helper_operation operation,
                const struct fields *fields, const struct secret_buf *key,
                struct helper_reply *ret_reply, GError **error);
/* The same where the answer has to be a slot key, which is returned. */
struct secret_buf *unlock_ask_key(const struct unlock_context *context,
                                  enum helper_operation operation, const struct fields *fields,
                                  const struct secret_buf *key, GError **error);
/* Takes the answer's fields of these names (up to a NULL) over into a slot's. */
bool unlock_ask_take_fields(const struct helper_reply *reply, const char *const *names,
                            struct fields *fields, GError **error);
