/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see daemon_polkit.h.
 */
#include "secret/daemon_polkit.h"

#include "master/helper.h"
#include "util/error.h"

static struct fields *
format_question(const struct rpc_polkit_question *question, GError **error)
{
    const struct rpc_identity *identity = question->identity;
    g_autoptr(fields_t) fields = fields_new();

    if (fields_set(fields, "action", question->action_id, error) &&
        fields_set_number(fields, "pid", (uint64_t)identity->peer_pid, error) &&
        fields_set_number(fields, "start-time", identity->peer_start_time, error) &&
        fields_set_number(fields, "uid", identity->peer_uid, error))
        return g_steal_pointer(&fields);
    return NULL;
}

/* What clients act on is an error of polkit, whatever kept it from being asked. */
bool
daemon_polkit_ask(const struct rpc_polkit_question *question, void *opaque, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(fields_t) fields = format_question(question, &failure);
    g_auto(helper_reply_t) reply = {0};
    const struct helper_request request = {
        .operation = HELPER_POLKIT,
        .fields = fields,
        .timeout_ms = question->timeout_ms,
        .cancel_fd = question->cancel_fd,
    };

    if (fields && helper_run(opaque, &request, &reply, &failure))
        return true;
    if (error_get_domain(failure) == ERROR_FROM_POLKIT)
        g_propagate_error(error, g_steal_pointer(&failure));
    else
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_FAILED,
                  "cannot ask polkit about action '%s' for user %u: %s", question->action_id,
                  question->identity->peer_uid, failure->message);
    return false;
}
