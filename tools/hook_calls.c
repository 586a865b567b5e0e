/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: hook_calls.h.
 */
#include "tools/hook_calls.h"

#include <glib.h>
#include <string.h>

/* `restore begin` and `migrate begin` are nothing: `prepare begin` follows them, and what is
 * printed then would replace the guest's XML. `start`, `started` and `stopped` come too late or too
 * early. */
static const struct {
    const char *operation;
    const char *suboperation;
    enum hook_action action;
} calls[] = {
    {"prepare", "begin", HOOK_PREPARE},
    {"reconnect", "begin", HOOK_RECONNECT},
    {"release", "end", HOOK_RELEASE},
};

enum hook_action
hook_calls_find(const char *operation, const char *suboperation)
{
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        if (strcmp(operation, calls[i].operation) == 0 &&
            strcmp(suboperation, calls[i].suboperation) == 0)
            return calls[i].action;
    }
    return HOOK_NOTHING;
}
