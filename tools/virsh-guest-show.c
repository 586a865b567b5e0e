/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: guest-list and guest-check: what is known of guests' keys, and whether a guest would start.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_guest_client.h"
#include "tools/guest_pages.h"
#include "tools/output.h"
#include "tools/virsh-guest-commands.h"

static void
add_heads(GPtrArray *cells, const char *const *heads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        g_ptr_array_add(cells, g_strdup(heads[i]));
}

static char *
or_dash(char *text)
{
    return text ? text : g_strdup("-");
}

static void
print_guests(const GPtrArray *guests, bool is_quiet)
{
    static const char *const heads[] = {"UUID",    "Name",     "State",    "Keys",
                                        "Missing", "Orphaned", "Erased at"};
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);

    add_heads(cells, heads, G_N_ELEMENTS(heads));
    for (guint i = 0; i < guests->len; i++) {
        const struct virtcrypt_guest_entry *guest = g_ptr_array_index(guests, i);

        g_ptr_array_add(cells, output_format_uuid(guest->uuid));
        g_ptr_array_add(cells, g_strdup(guest->name));
        g_ptr_array_add(cells, g_strdup(guest->state));
        g_ptr_array_add(cells, g_strdup_printf("%u", guest->keys));
        g_ptr_array_add(cells, g_strdup_printf("%u", guest->missing));
        g_ptr_array_add(cells, g_strdup_printf("%u", guest->orphaned));
        g_ptr_array_add(cells, or_dash(output_format_time(guest->erase_at)));
    }
    output_table(cells, G_N_ELEMENTS(heads), is_quiet);
}

static void
append_guest(GString *json, const void *entry)
{
    const struct virtcrypt_guest_entry *guest = entry;
    g_autofree char *uuid = output_format_uuid(guest->uuid);
    g_autofree char *erase_at = output_format_time(guest->erase_at);

    g_string_append_printf(json, "{\"uuid\": \"%s\", \"name\": ", uuid);
    output_append_json(json, guest->name);
    g_string_append(json, ", \"state\": ");
    output_append_json(json, guest->state);
    g_string_append_printf(
        json,
        ", \"persistent\": %s, \"keys\": %u, \"missing\": %u, \"orphaned\": %u, \"erase-at\": ",
        guest->is_persistent ? "true" : "false", guest->keys, guest->missing, guest->orphaned);
    output_append_json(json, erase_at);
    g_string_append_c(json, '}');
}

bool
virsh_guest_list(struct session *session, const struct command_args *args)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) guests = guest_pages_get_guests(session->client, &error);

    if (!guests)
        return output_failure(error, "Failed to list guests");
    if (command_has(args, "json"))
        output_json_array(guests, append_guest);
    else
        print_guests(guests, session->is_quiet);
    return true;
}

static void
print_items(const struct virtcrypt_guest_check_ret *check, bool is_quiet)
{
    static const char *const heads[] = {"Place", "Volume", "Secret", "State", "Message"};
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);

    add_heads(cells, heads, G_N_ELEMENTS(heads));
    for (uint32_t i = 0; i < check->items_len; i++) {
        const struct virtcrypt_guest_check_item *item = &check->items[i];

        g_ptr_array_add(cells, g_strdup(item->place));
        g_ptr_array_add(cells, or_dash(g_strdup(item->volume)));
        g_ptr_array_add(cells, or_dash(item->secret ? output_format_uuid(item->secret) : NULL));
        g_ptr_array_add(cells, g_strdup(item->state));
        g_ptr_array_add(cells, or_dash(g_strdup(item->message)));
    }
    output_table(cells, G_N_ELEMENTS(heads), is_quiet);
}

static void
append_item(GString *json, const void *entry)
{
    const struct virtcrypt_guest_check_item *item = entry;
    g_autofree char *secret = item->secret ? output_format_uuid(item->secret) : NULL;
    const struct output_member members[] = {
        {"place", item->place}, {"volume", item->volume},   {"secret", secret},
        {"state", item->state}, {"message", item->message},
    };

    output_append_json_object(json, members, G_N_ELEMENTS(members));
}

static void
print_items_as_json(const struct virtcrypt_guest_check_ret *check)
{
    g_autoptr(GPtrArray) items = g_ptr_array_new();

    for (uint32_t i = 0; i < check->items_len; i++)
        g_ptr_array_add(items, &check->items[i]);
    output_json_array(items, append_item);
}

bool
virsh_guest_check(struct session *session, const struct command_args *args)
{
    g_auto(virsh_guest_t) guest = {0};
    struct virtcrypt_guest_check_args call = {0};
    struct virtcrypt_guest_check_ret check = {0};
    g_autoptr(GError) error = NULL;
    bool would_start;
    bool is_given;

    if (!virsh_guest_get(session, args, "domain", &is_given, &guest))
        return false;
    memcpy(call.guest, guest.uuid.bytes, sizeof(call.guest));
    if (!virtcrypt_guest_check_call(session->client, &call, &check, &error))
        return output_failure(error, "Failed to check domain '%s'", guest.name);
    if (command_has(args, "json"))
        print_items_as_json(&check);
    else
        print_items(&check, session->is_quiet);
    would_start = check.would_start;
    if (!would_start)
        output_error("Domain '%s' would not start", check.guest.name);
    virtcrypt_guest_check_ret_clear(&check);
    return would_start;
}
