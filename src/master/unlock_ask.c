/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: unlock_ask.h.
 */
#include "master/unlock_ask.h"

#include "util/error.h"

bool
unlock_ask(const struct unlock_context *context, enum helper_operation operation,
           const struct fields *fields, const struct secret_buf *key,
           struct helper_reply *ret_reply, GError **error)
{
    const struct helper_request request = {
        .operation = operation,
        .fields = fields,
        .key = key,
        .timeout_ms = context->timeout_ms,
    };

    if (context->helper)
        return helper_run(context->helper, &request, ret_reply, error);
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "this slot is opened by virtcrypt-unlock-helper, which can't be started here");
    return false;
}

struct secret_buf *
unlock_ask_key(const struct unlock_context *context, enum helper_operation operation,
               const struct fields *fields, const struct secret_buf *key, GError **error)
{
    g_auto(helper_reply_t) reply = {0};

    if (!unlock_ask(context, operation, fields, key, &reply, error))
        return NULL;
    if (reply.key && secret_buf_len(reply.key) == SLOT_KEY_SIZE)
        return g_steal_pointer(&reply.key);
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "what the slot holds is no key of %d bytes", SLOT_KEY_SIZE);
    return NULL;
}

bool
unlock_ask_take_fields(const struct helper_reply *reply, const char *const *names,
                       struct fields *fields, GError **error)
{
    for (unsigned int i = 0; names[i]; i++) {
        const char *value = fields_get(reply->fields, names[i]);

        if (!value) {
            error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                      "virtcrypt-unlock-helper gave no '%s': it is of another version", names[i]);
            return false;
        }
        if (!fields_set(fields, names[i], value, error))
            return false;
    }
    return true;
}
