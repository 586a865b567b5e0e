/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a guest refers to (service_state.h): by its XML, by the records of our volumes, and by
 * the backing files that images on disk name. What can't be read makes the answer partial.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/domain_secrets.h"
#include "guest/chain.h"
#include "guest/service_state.h"
#include "guest/volume.h"
#include "util/error.h"

struct search {
    struct guest_service *service;
    const GArray *with_value;
    GPtrArray *strange; /* paths of volumes that are none of ours */
    GPtrArray *references;
    GHashTable *by_secret; /* struct uuid -> struct guest_reference, borrowed */
    GHashTable *visited;   /* set of "FORMAT PATH" */
    bool is_partial;
};

void
guest_reference_free(struct guest_reference *reference)
{
    if (!reference)
        return;
    g_free(reference->volume);
    g_free(reference);
}

static void
free_reference(void *data)
{
    guest_reference_free(data);
}

static void
add_volume(struct guest_reference *reference, const char *volume)
{
    if (!reference->volume)
        reference->volume = g_strdup(volume);
    else if (volume && !guest_volume_is_same(reference->volume, volume))
        reference->has_more_volumes = true;
}

/* `volume` may be NULL. */
static void
add(struct search *search, const struct uuid *secret, const char *volume, bool is_generated)
{
    const GArray *with_value = search->with_value;
    struct guest_reference *reference = g_hash_table_lookup(search->by_secret, secret);

    if (!reference) {
        reference = g_new0(struct guest_reference, 1);
        reference->secret = *secret;
        reference->has_value =
            with_value->len > 0 && bsearch(secret, with_value->data, with_value->len,
                                           sizeof(struct uuid), uuid_compare_key) != NULL;
        g_ptr_array_add(search->references, reference);
        g_hash_table_insert(search->by_secret, &reference->secret, reference);
    }
    reference->is_generated = reference->is_generated || is_generated;
    add_volume(reference, volume);
}

/* ---- volumes ---- */

/* While the key changes, the other one opens it too. */
static void
add_record(struct search *search, const struct volume_record *record)
{
    add(search, &record->encryption->secret_uuid, record->path,
        record->secret_is_generated || record->secret_is_stored);
    if (record->has_other_secret)
        add(search, &record->other_secret, record->path, record->other_secret_is_made);
}

static bool
is_new(struct search *search, const char *path, const char *format)
{
    return g_hash_table_add(search->visited, g_strdup_printf("%s %s", format ? format : "", path));
}

/* *format, what is at `path`, becomes what our record says. False: there is nothing behind it. */
static bool
visit_one(struct search *search, const char *path, char **format)
{
    g_autoptr(volume_record_t) record =
        storage_service_find_record(search->service->storage, path, NULL, NULL, NULL);
    struct stat info;

    if (record) {
        add_record(search, record);
        g_free(*format);
        *format = g_strdup(record->kind == VOLUME_KIND_QCOW2 ? "qcow2" : "raw");
    } else if (stat(path, &info) != 0) {
        /* Whatever it is a link to may be a volume of ours. */
        search->is_partial = true;
        return false;
    }
    if (!record)
        g_ptr_array_add(search->strange, g_strdup(path));
    return g_strcmp0(*format, "qcow2") == 0;
}

/* An image and what it is based on. Only what is said to be qcow2 is taken for that: a guest can
 * write on a raw disk what it likes. */
static void
visit_chain(struct search *search, const char *path, const char *format)
{
    g_autofree char *at = g_canonicalize_filename(path, "/");
    g_autofree char *kind = g_strdup(format);

    for (unsigned int depth = 0; is_new(search, at, kind); depth++) {
        g_autofree char *next = NULL;
        g_autofree char *next_kind = NULL;
        enum guest_chain answer;

        if (!visit_one(search, at, &kind))
            return;
        answer =
            depth < GUEST_CHAIN_MAX ? guest_chain_next(at, &next, &next_kind) : GUEST_CHAIN_UNKNOWN;
        if (answer == GUEST_CHAIN_UNKNOWN)
            search->is_partial = true;
        if (answer != GUEST_CHAIN_NEXT)
            return;
        g_free(at);
        at = g_steal_pointer(&next);
        g_free(kind);
        kind = g_steal_pointer(&next_kind);
    }
}

/* The path of a volume that is none of ours; NULL: not known. */
static char *
find_in_pool(struct search *search, const char *pool_name, const char *volume)
{
    struct storage_pools *pools = storage_service_pools(search->service->storage);
    g_autoptr(pool_def_t) pool = storage_pools_get(pools, pool_name, NULL);

    if (!pool)
        search->is_partial = true;
    return pool && pool->target_path ? g_build_filename(pool->target_path, volume, NULL) : NULL;
}

static char *
find_volume(struct search *search, const char *pool, const char *volume)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(volume_record_t) record =
        storage_service_find_record(search->service->storage, NULL, pool, volume, &failure);

    if (record)
        return g_strdup(record->path);
    if (failure)
        search->is_partial = true;
    return find_in_pool(search, pool, volume);
}

static void
visit_source(struct search *search, const struct disk_source *source)
{
    g_autofree char *path = source->type == DISK_SOURCE_VOLUME
                                ? find_volume(search, source->pool, source->volume)
                                : g_strdup(source->path);

    if (path && path[0] == '/')
        visit_chain(search, path, source->format);
}

/* ---- secrets that the XML names ---- */

/* "POOL/VOLUME" as a path; a pool's name holds no slash. */
static char *
find_path(struct search *search, const char *volume)
{
    const char *slash = volume ? strchr(volume, '/') : NULL;
    g_autofree char *pool = NULL;

    if (!slash || slash == volume)
        return g_strdup(volume);
    pool = g_strndup(volume, (gsize)(slash - volume));
    return find_volume(search, pool, slash + 1);
}

static bool
add_secret(struct search *search, const struct domain_secret *secret, GError **error)
{
    const struct guest_custodian *custodian = &search->service->custodian;
    g_autofree char *path = find_path(search, secret->volume);
    g_autoptr(GError) failure = NULL;
    struct uuid uuid = secret->uuid;

    if (secret->has_uuid || custodian->find_usage(custodian->opaque, secret->usage_type,
                                                  secret->usage, &uuid, &failure)) {
        add(search, &uuid, path, false);
        return true;
    }
    if (error_is(failure, ERROR_NO_SECRET))
        return true;
    g_propagate_prefixed_error(error, g_steal_pointer(&failure), "%s: ", secret->place);
    return false;
}

/* Volumes first: their records know the paths that are told to people. */
static bool
add_xml(struct search *search, const char *xml, GError **error)
{
    g_autoptr(domain_secrets_t) found = domain_secrets_parse(xml, strlen(xml), error);

    if (!found)
        return false;
    for (guint i = 0; i < found->sources->len; i++)
        visit_source(search, found->sources->pdata[i]);
    for (guint i = 0; i < found->secrets->len; i++) {
        if (!add_secret(search, found->secrets->pdata[i], error))
            return false;
    }
    return true;
}

/* ---- keys that it has ---- */

static bool
has_secret(const struct search *search, const char *path)
{
    for (guint i = 0; i < search->references->len; i++) {
        const struct guest_reference *reference = search->references->pdata[i];

        if (reference->volume && guest_volume_is_same(reference->volume, path))
            return true;
    }
    return false;
}

/* A volume that it has a key for, though its XML does not say so: a layer was put on it that
 * libvirt was not told of, or its <encryption> was left out. */
static void
add_own(struct search *search, const struct uuid *guest)
{
    g_autoptr(guest_record_t) record = guest_records_get(search->service->records, guest, NULL);

    for (guint i = 0; record && i < record->keys->len; i++) {
        const struct guest_key *key = record->keys->pdata[i];

        for (guint k = 0; key->volume && k < search->strange->len; k++) {
            const char *path = search->strange->pdata[k];

            if (key->origin != GUEST_KEY_REFUSED && guest_volume_is_same(key->volume, path) &&
                !has_secret(search, path))
                add(search, &key->secret, path, false);
        }
    }
}

GPtrArray *
guest_references_of(struct guest_service *service, const struct guest_seen *seen,
                    const GArray *with_value, bool *ret_partial, GError **error)
{
    g_autoptr(GPtrArray) references = g_ptr_array_new_with_free_func(free_reference);
    g_autoptr(GHashTable) by_secret = g_hash_table_new(uuid_hash_key, uuid_equal_key);
    g_autoptr(GHashTable) visited = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) strange = g_ptr_array_new_with_free_func(g_free);
    struct search search = {
        .service = service,
        .with_value = with_value,
        .strange = strange,
        .references = references,
        .by_secret = by_secret,
        .visited = visited,
    };

    for (guint i = 0; i < seen->xmls->len; i++) {
        if (!add_xml(&search, seen->xmls->pdata[i], error)) {
            g_prefix_error(error, "guest '%s': ", seen->name);
            return NULL;
        }
    }
    add_own(&search, &seen->uuid);
    *ret_partial = search.is_partial;
    return g_steal_pointer(&references);
}
