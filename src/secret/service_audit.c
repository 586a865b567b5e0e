/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the audit says of a change (docs/audit.md): who, what, when and why, and never a
 * value. The line is part of the store change, so that it is there exactly if the change is.
 */
#include "conf/audit_line.h"
#include "secret/service_state.h"

static void
append_text(GString *members, const char *name, const char *value)
{
    if (members->len > 0)
        g_string_append_c(members, ',');
    g_string_append_printf(members, "\"%s\":", name);
    audit_line_append_string(members, value);
}

bool
service_add_audit(struct change *change, const char *event, uint64_t generation, GError **error)
{
    g_autoptr(GString) members = g_string_new(NULL);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%SZ");
    char text[UUID_TEXT_SIZE];
    struct uuid id;

    if (!change->service->is_audited)
        return true;
    if (!uuid_generate_random(&id, error))
        return false;
    append_text(members, "time", time);
    append_text(members, "event", event);
    append_text(members, "secret", uuid_format(&change->uuid, text));
    if (change->has_guest)
        append_text(members, "guest", uuid_format(&change->guest, text));
    append_text(members, "reason", change->reason);
    g_string_append_printf(members, ",\"generation\":%" G_GUINT64_FORMAT, generation);
    append_text(members, "id", uuid_format(&id, text));
    change->disk.audit = g_string_free(g_steal_pointer(&members), FALSE);
    return true;
}
