/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the list, as store_parts.h says.
 */
#include "secret/store_parts.h"

#include "secret/store_change.h"

const char *
store_parts_name(const struct uuid *uuid, enum store_kind kind, char text[STORE_NAME_SIZE])
{
    static const char *const suffixes[] = {".xml", ".key", ".base64", ".aes256cbc"};

    G_STATIC_ASSERT(G_N_ELEMENTS(suffixes) == STORE_AES256CBC + 1);
    uuid_format(uuid, text);
    g_strlcat(text, suffixes[kind], STORE_NAME_SIZE);
    return text;
}

const char *
store_parts_path(const struct uuid *guest, const char *name, char text[STORE_PATH_SIZE])
{
    char folder[UUID_TEXT_SIZE];

    if (guest)
        g_snprintf(text, STORE_PATH_SIZE, "%s/%s", uuid_format(guest, folder), name);
    else
        g_strlcpy(text, name, STORE_PATH_SIZE);
    return text;
}

static void
add_part(GArray *parts, const struct uuid *uuid, struct store_part part)
{
    store_parts_name(uuid, part.kind, part.name);
    g_snprintf(part.new_name, sizeof(part.new_name), "%s.new", part.name);
    g_array_append_val(parts, part);
}

static void
add_parts(GArray *parts, const struct store_change *change, enum store_action action)
{
    if (change->xml_action == action)
        add_part(parts, &change->uuid,
                 (struct store_part){.kind = STORE_XML, .action = action, .content = change->xml});
    if (change->key_action == action)
        add_part(parts, &change->uuid,
                 (struct store_part){.kind = STORE_KEY, .action = action, .content = change->key});
    for (guint i = 0; i < store_change_owner_count(change); i++) {
        const struct store_owner_change *owner = store_change_owner(change, i);

        if (owner->action == action)
            add_part(parts, &change->uuid,
                     (struct store_part){.guest = &owner->guest,
                                         .kind = STORE_KEY,
                                         .action = action,
                                         .content = owner->key});
    }
}

GArray *
store_parts_new(const struct store_change *change)
{
    GArray *parts = g_array_new(FALSE, FALSE, sizeof(struct store_part));

    add_parts(parts, change, STORE_WRITE);
    add_parts(parts, change, STORE_REMOVE);
    return parts;
}
