/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what guests ask of the custodian of keys, as a table of functions: client_custodian.c asks
 * virtcrypt-secretd by RPC, tests have their own. Every wait is bounded. Thread-safe.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/secret_def.h"
#include "util/secret_buf.h"
#include "util/uuid.h"

struct guest_binding {
    struct uuid secret;
    struct uuid guest;
};

struct guest_custodian {
    void *opaque;
    /* All bindings there are: GArray of struct guest_binding, in the order of secret and guest. */
    GArray *(*list)(void *opaque, GError **error);
    /* Each on its own; ret_errors (of GError *, NULL elements for those done) has one for each. An
     * error of the whole: nothing is known. ERROR_NO_SECRET: no such secret, or without a value. */
    bool (*bind)(void *opaque, const GArray *bindings, GPtrArray **ret_errors, GError **error);
    bool (*unbind)(void *opaque, const GArray *bindings, const char *reason, GPtrArray **ret_errors,
                   GError **error);
    /* Definition, value and all copies. True as well if there is none. `guest` may be NULL. */
    bool (*erase)(void *opaque, const struct uuid *secret, const struct uuid *guest,
                  const char *reason, GError **error);
    /* A new secret with its value and owners (array of uuids), all or nothing. */
    bool (*put)(void *opaque, const struct secret_def *def, const struct secret_buf *value,
                const struct uuid *owners, size_t owner_count, GError **error);
    /* ERROR_NO_SECRET. */
    struct secret_buf *(*get)(void *opaque, const struct uuid *secret, GError **error);
    struct secret_def *(*find)(void *opaque, const struct uuid *secret, GError **error);
    bool (*find_usage)(void *opaque, enum secret_usage_type type, const char *usage,
                       struct uuid *ret_uuid, GError **error);
    /* Uuids (GArray of struct uuid, ascending) of all secrets that have a value. */
    GArray *(*list_with_value)(void *opaque, GError **error);
    /* Whether its master key is locked. */
    bool (*is_locked)(void *opaque, bool *ret_locked, GError **error);
};
