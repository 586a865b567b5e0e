/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the text of an event.
 */
#include "secret/audit_event.h"

#include "conf/audit_line.h"
#include "secret/store.h"
#include "util/error.h"

/* Each guest has a comma and quotes; an escape of the reason has at most six bytes. */
G_STATIC_ASSERT(STORE_OWNERS_MAX *(UUID_TEXT_SIZE + 2) + 6 * AUDIT_REASON_MAX + 512 <=
                AUDIT_MEMBERS_MAX);

static void
append_uuid(GString *text, const struct uuid *uuid)
{
    char name[UUID_TEXT_SIZE];

    if (uuid)
        g_string_append_printf(text, "\"%s\"", uuid_format(uuid, name));
    else
        g_string_append(text, "null");
}

/* One guest, as most events have, is "guest"; of none it is null, and several are "guests". */
static void
append_guests(GString *text, const struct audit_event *event)
{
    if (event->guest_count <= 1) {
        g_string_append(text, ",\"guest\":");
        if (event->guest_count == 1)
            append_uuid(text, event->guests);
        else
            g_string_append(text, "null");
        return;
    }
    g_string_append(text, ",\"guests\":[");
    for (size_t i = 0; i < event->guest_count; i++) {
        if (i > 0)
            g_string_append_c(text, ',');
        append_uuid(text, &event->guests[i]);
    }
    g_string_append_c(text, ']');
}

/* Copies on disk may be more than were bound. */
static bool
check_guests(const struct audit_event *event, GError **error)
{
    char secret[UUID_TEXT_SIZE];

    if (event->guest_count <= STORE_OWNERS_MAX)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "secret %s belongs to %zu guests, more than the maximum of %d: take it from some of "
              "them first with 'virtcrypt key-unbind'",
              uuid_format(event->secret, secret), event->guest_count, STORE_OWNERS_MAX);
    return false;
}

char *
audit_event_members(const struct audit_event *event, GError **error)
{
    g_autoptr(GString) text = g_string_new("\"time\":");
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%SZ");
    g_autofree char *reason = g_strndup(event->reason, AUDIT_REASON_MAX);
    struct uuid id;

    if (!check_guests(event, error) || !uuid_generate_random(&id, error))
        return NULL;
    audit_line_append_string(text, time);
    g_string_append(text, ",\"event\":");
    audit_line_append_string(text, event->event);
    g_string_append(text, ",\"secret\":");
    append_uuid(text, event->secret);
    append_guests(text, event);
    g_string_append(text, ",\"reason\":");
    audit_line_append_string(text, reason);
    g_string_append_printf(text,
                           ",\"generation\":%" G_GUINT64_FORMAT ",\"id\":", event->generation);
    append_uuid(text, &id);
    return g_string_free(g_steal_pointer(&text), FALSE);
}
