/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: two hash tables and one sorted array over the same secrets. The tables are sets of secrets
 * that hash by a part of the definition, so that an entry costs one pointer. The array is kept
 * sorted by moving what follows: 400 KiB for one of 100 000 secrets, far below the price of the
 * flush that comes with a new one.
 */
#include "secret/registry.h"

#include <string.h>

struct registry {
    GHashTable *by_uuid;  /* set of struct secret */
    GHashTable *by_usage; /* set of struct secret, without those of no usage */
    GPtrArray *sorted;    /* by uuid */
    size_t ephemeral;
};

static guint
hash_uuid(gconstpointer key)
{
    const struct secret *secret = key;

    return uuid_hash_key(&secret->def->uuid);
}

static gboolean
equal_uuid(gconstpointer a, gconstpointer b)
{
    const struct secret *left = a;
    const struct secret *right = b;

    return uuid_equal(&left->def->uuid, &right->def->uuid);
}

guint
registry_usage_hash(gconstpointer key)
{
    const struct secret_def *def = key;

    return g_str_hash(def->usage_id) * 31 + (guint)def->usage_type;
}

gboolean
registry_usage_equal(gconstpointer a, gconstpointer b)
{
    const struct secret_def *left = a;
    const struct secret_def *right = b;

    return left->usage_type == right->usage_type && g_str_equal(left->usage_id, right->usage_id);
}

static guint
hash_usage(gconstpointer key)
{
    const struct secret *secret = key;

    return registry_usage_hash(secret->def);
}

static gboolean
equal_usage(gconstpointer a, gconstpointer b)
{
    const struct secret *left = a;
    const struct secret *right = b;

    return registry_usage_equal(left->def, right->def);
}

struct uuid *
secret_value_owner(const struct uuid *guest)
{
    return g_memdup2(guest, sizeof(*guest));
}

void
secret_value_clear(struct secret_value *value)
{
    g_clear_pointer(&value->sealed, g_bytes_unref);
    g_clear_pointer(&value->owner, g_free);
    g_clear_pointer(&value->unavailable, g_free);
    *value = (struct secret_value){0};
}

void
secret_value_replace(struct secret_value *to, struct secret_value *from)
{
    secret_value_clear(to);
    *to = *from;
    *from = (struct secret_value){0};
}

static void
secret_free(void *opaque)
{
    struct secret *secret = opaque;

    secret_def_free(secret->def);
    secret_value_clear(&secret->value);
    owners_free(secret->owners);
    g_free(secret);
}

struct registry *
registry_new(void)
{
    struct registry *registry = g_new0(struct registry, 1);

    registry->by_uuid = g_hash_table_new(hash_uuid, equal_uuid);
    registry->by_usage = g_hash_table_new(hash_usage, equal_usage);
    registry->sorted = g_ptr_array_new_with_free_func(secret_free);
    return registry;
}

void
registry_free(struct registry *registry)
{
    if (!registry)
        return;
    g_hash_table_unref(registry->by_uuid);
    g_hash_table_unref(registry->by_usage);
    g_ptr_array_unref(registry->sorted);
    g_free(registry);
}

struct secret *
registry_find(const struct registry *registry, const struct uuid *uuid)
{
    struct secret_def def = {.uuid = *uuid};
    const struct secret key = {.def = &def};

    return g_hash_table_lookup(registry->by_uuid, &key);
}

struct secret *
registry_find_usage(const struct registry *registry, enum secret_usage_type type,
                    const char *usage_id)
{
    struct secret_def def = {.usage_type = type, .usage_id = (char *)usage_id};
    const struct secret key = {.def = &def};

    if (type == SECRET_USAGE_NONE)
        return NULL;
    return g_hash_table_lookup(registry->by_usage, &key);
}

size_t
registry_count(const struct registry *registry)
{
    return registry->sorted->len;
}

size_t
registry_count_ephemeral(const struct registry *registry)
{
    return registry->ephemeral;
}

/* Where the first secret stands whose uuid is not below `uuid`. */
static guint
find_place(const struct registry *registry, const struct uuid *uuid)
{
    guint low = 0;
    guint high = registry->sorted->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;
        const struct secret *secret = g_ptr_array_index(registry->sorted, middle);

        if (memcmp(secret->def->uuid.bytes, uuid->bytes, sizeof(uuid->bytes)) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
is_last(const struct registry *registry, const struct uuid *uuid)
{
    const struct secret *last;

    if (registry->sorted->len == 0)
        return true;
    last = g_ptr_array_index(registry->sorted, registry->sorted->len - 1);
    return memcmp(last->def->uuid.bytes, uuid->bytes, sizeof(uuid->bytes)) < 0;
}

/* Of what follows from the definition alone. */
static void
index_def(struct registry *registry, struct secret *secret)
{
    gboolean is_new = g_hash_table_add(registry->by_uuid, secret);

    g_assert(is_new);
    if (secret->def->usage_type != SECRET_USAGE_NONE) {
        is_new = g_hash_table_add(registry->by_usage, secret);
        g_assert(is_new);
    }
    registry->ephemeral += secret->def->is_ephemeral;
}

static void
unindex_def(struct registry *registry, struct secret *secret)
{
    g_hash_table_remove(registry->by_uuid, secret);
    if (secret->def->usage_type != SECRET_USAGE_NONE)
        g_hash_table_remove(registry->by_usage, secret);
    registry->ephemeral -= secret->def->is_ephemeral;
}

struct secret *
registry_add(struct registry *registry, struct secret_def *def)
{
    struct secret *secret = g_new0(struct secret, 1);
    guint place =
        is_last(registry, &def->uuid) ? registry->sorted->len : find_place(registry, &def->uuid);

    secret->def = def;
    index_def(registry, secret);
    g_ptr_array_insert(registry->sorted, (gint)place, secret);
    return secret;
}

void
registry_redefine(struct registry *registry, struct secret *secret, struct secret_def *def)
{
    g_assert(uuid_equal(&secret->def->uuid, &def->uuid));
    unindex_def(registry, secret);
    secret_def_free(secret->def);
    secret->def = def;
    index_def(registry, secret);
}

void
registry_remove(struct registry *registry, struct secret *secret)
{
    guint place = find_place(registry, &secret->def->uuid);

    unindex_def(registry, secret);
    g_ptr_array_remove_index(registry->sorted, place);
}

void
registry_foreach(const struct registry *registry, registry_func func, void *opaque)
{
    for (guint i = 0; i < registry->sorted->len; i++) {
        if (!func(g_ptr_array_index(registry->sorted, i), opaque))
            return;
    }
}

GPtrArray *
registry_page(const struct registry *registry, const struct uuid *after, size_t max)
{
    GPtrArray *page = g_ptr_array_new();
    guint at = 0;

    if (after) {
        at = find_place(registry, after);
        at += registry_find(registry, after) != NULL;
    }
    for (; at < registry->sorted->len && page->len < max; at++)
        g_ptr_array_add(page, g_ptr_array_index(registry->sorted, at));
    return page;
}
