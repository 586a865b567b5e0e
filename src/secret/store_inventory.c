/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: store_inventory.h.
 */
#include "secret/store_inventory.h"

#include "secret/owners.h"
#include "util/error.h"

/* Takes the guests of one secret, which come next in `owned`, from *at on. */
static GArray *
take_owners(const GArray *owned, const struct uuid *secret, guint *at)
{
    static const struct uuid nobody;
    GArray *owners = NULL;

    for (; *at < owned->len; ++*at) {
        const struct store_owned *copy = &g_array_index(owned, struct store_owned, *at);

        if (!uuid_equal(&copy->secret, secret))
            break;
        /* A value is sealed for these zeros when it belongs to no guest. */
        if (!uuid_equal(&copy->guest, &nobody))
            owners_add(&owners, &copy->guest);
    }
    return owners;
}

/* Both lists are in the order of secrets. */
void
store_inventory_foreach(const GArray *entries, const GArray *owned, store_inventory_func func,
                        void *opaque)
{
    guint at = 0;
    guint next = 0;

    while (next < entries->len || at < owned->len) {
        const struct store_entry *entry =
            next < entries->len ? &g_array_index(entries, struct store_entry, next) : NULL;
        const struct store_owned *copy =
            at < owned->len ? &g_array_index(owned, struct store_owned, at) : NULL;
        struct store_entry found = {0};

        if (entry && (!copy || uuid_compare(&entry->uuid, &copy->secret) <= 0)) {
            found = *entry;
            next++;
        } else if (copy) {
            found.uuid = copy->secret;
        }
        func(&found, take_owners(owned, &found.uuid, &at), opaque);
    }
}

struct secret_def *
store_inventory_read_definition(struct store *store, const struct uuid *uuid, GError **error)
{
    g_autoptr(GBytes) xml = store_read_xml(store, uuid, error);
    g_autoptr(secret_def_t) def = NULL;
    gsize len = 0;
    const char *text;

    if (!xml)
        return NULL;
    text = g_bytes_get_data(xml, &len);
    def = secret_def_parse(text, len, false, error);
    if (def && !uuid_equal(&def->uuid, uuid)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "<uuid> does not match the name of the file");
        return NULL;
    }
    return g_steal_pointer(&def);
}
