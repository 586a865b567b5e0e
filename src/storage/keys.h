/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what storage asks of the custodian of keys, as a table of functions: client_keys.c asks
 * virtcrypt-secretd by RPC with the system token, tests have their own. Each call is whole: a
 * value is fetched for one operation and freed by the caller.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/secret_buf.h"
#include "util/uuid.h"

struct storage_keys {
    void *opaque;
    /* The value. ERROR_NO_SECRET if there is none (no such secret, or it has no value); the
     * custodian's error when it is locked or away, naming the remedy. */
    struct secret_buf *(*get)(void *opaque, const struct uuid *uuid, GError **error);
    /* Which secret of type volume has that usage id; ERROR_NO_SECRET. */
    bool (*find_by_usage)(void *opaque, const char *usage, struct uuid *ret_uuid, GError **error);
    /* Durably defines the private secret `uuid` with usage type volume, id `usage` and that
     * description, with `value`, both or neither. (If the custodian goes away before it answers, it
     * is not known which: the caller has the uuid on record, and removes it.) An existing secret of
     * that usage: ERROR_OPERATION_FAILED naming it. */
    bool (*put)(void *opaque, const struct uuid *uuid, const char *usage, const char *description,
                const struct secret_buf *value, GError **error);
    /* Erases it, value and all; the custodian's audit gets the reason. True as well if there is
     * none. */
    bool (*remove)(void *opaque, const struct uuid *uuid, const char *reason, GError **error);
};
