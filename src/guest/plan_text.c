/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: plan_text.h.
 */
#include "guest/plan_text.h"

enum { NAME_SHOWN_MAX = 200 }; /* characters of names and URIs */

static char *
shorten(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text ? text : "?", -1);

    return g_utf8_strlen(valid, -1) > NAME_SHOWN_MAX ? g_utf8_substring(valid, 0, NAME_SHOWN_MAX)
                                                     : g_steal_pointer(&valid);
}

char *
guest_plan_describe_cause(const struct guest_record *record)
{
    g_autofree char *name = shorten(record->name);
    g_autofree char *peer = record->peer ? shorten(record->peer) : g_strdup("another host");

    if (record->state == GUEST_STATE_MIGRATED)
        return g_strdup_printf("guest '%s' migrated to %s", name, peer);
    return g_strdup_printf(record->state == GUEST_STATE_UNDEFINED
                               ? "guest '%s' was undefined"
                               : "guest '%s' does not refer to it any more",
                           name);
}

char *
guest_plan_describe_hold(const struct guest_record *record, const struct guest_key *key,
                         bool is_manual)
{
    g_autofree char *cause = guest_plan_describe_cause(record);

    if (guest_key_has_several(key))
        return g_strconcat(cause, "; held until key-erase, as it opens other volumes, too", NULL);
    return g_strdup_printf("%s; held until %s, as no other host is known to have the key", cause,
                           is_manual     ? "key-erase"
                           : key->volume ? "its volume is deleted"
                                         : "key-erase, as its volume is not known");
}
