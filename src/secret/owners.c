/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as owners.h says.
 */
#include "secret/owners.h"

guint
owners_count(const GArray *owners)
{
    return owners ? owners->len : 0;
}

const struct uuid *
owners_at(const GArray *owners, guint index)
{
    return &g_array_index(owners, struct uuid, index);
}

const struct uuid *
owners_data(const GArray *owners)
{
    return owners_count(owners) > 0 ? owners_at(owners, 0) : NULL;
}

guint
owners_count_until(const GArray *owners, const struct uuid *guest)
{
    guint low = 0;
    guint high = owners_count(owners);

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (uuid_compare(owners_at(owners, middle), guest) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool
owners_has(const GArray *owners, const struct uuid *guest)
{
    guint next = owners_count_until(owners, guest);

    return next > 0 && uuid_equal(owners_at(owners, next - 1), guest);
}

GArray *
owners_copy(const GArray *owners)
{
    GArray *copy;

    if (owners_count(owners) == 0)
        return NULL;
    copy = g_array_sized_new(FALSE, FALSE, sizeof(struct uuid), owners->len);
    return g_array_append_vals(copy, owners->data, owners->len);
}

void
owners_add(GArray **owners, const struct uuid *guest)
{
    if (owners_has(*owners, guest))
        return;
    if (!*owners)
        *owners = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    g_array_insert_vals(*owners, owners_count_until(*owners, guest), guest, 1);
}

void
owners_remove(GArray **owners, const struct uuid *guest)
{
    if (!owners_has(*owners, guest))
        return;
    g_array_remove_index(*owners, owners_count_until(*owners, guest) - 1);
    if ((*owners)->len == 0)
        g_array_unref(g_steal_pointer(owners));
}

void
owners_free(GArray *owners)
{
    if (owners)
        g_array_unref(owners);
}
