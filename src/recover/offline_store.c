/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: opening the store and reading it. The locks are those of the daemons: libvirt's driver lock
 * (this host's, or that of a root with a run folder), and the store's own on its folder.
 */
#include "recover/offline_store.h"

#include <string.h>
#include <unistd.h>

#include "daemon/lock.h"
#include "secret/owners.h"
#include "secret/sealed.h"
#include "secret/store_inventory.h"
#include "util/error.h"
#include "util/parallel.h"

enum { LOCK_FOLDER_MODE = 0700 };

static const char lock_remedy[] =
    "it keeps the secrets of this host, which this program works on alone: stop it first";

struct offline_store {
    struct offline_paths *paths;
    struct daemon_lock *driver_lock; /* or NULL */
    struct store *store;
    struct offline_keys keys;
    GArray *secrets; /* of struct offline_secret, in the order of uuids */
    GPtrArray *problems;
    bool takes_old;
};

static void
clear_secret(void *element)
{
    struct offline_secret *secret = element;

    g_clear_pointer(&secret->owners, owners_free);
    secret_def_free(secret->def);
    g_free(secret->problem);
    service_reading_clear(&secret->reading);
}

void
offline_store_free(struct offline_store *store)
{
    if (!store)
        return;
    g_clear_pointer(&store->secrets, g_array_unref);
    offline_keys_clear(&store->keys);
    store_free(store->store);
    daemon_lock_free(store->driver_lock);
    g_ptr_array_unref(store->problems);
    offline_paths_free(store->paths);
    g_free(store);
}

/* ---- what is there ---- */

static struct offline_secret *
secret_at(const struct offline_store *store, guint index)
{
    return &g_array_index(store->secrets, struct offline_secret, index);
}

static void
add_secret(const struct store_entry *entry, GArray *take_owners, void *opaque)
{
    struct offline_store *store = opaque;
    struct offline_secret secret = {.entry = *entry, .owners = take_owners};

    g_array_append_val(store->secrets, secret);
}

static void
load_definition(size_t index, void *opaque)
{
    struct offline_store *store = opaque;
    struct offline_secret *secret = secret_at(store, (guint)index);
    g_autoptr(GError) error = NULL;

    secret->def = store_inventory_read_definition(store->store, &secret->entry.uuid, &error);
    if (!secret->def)
        secret->problem = g_strdup_printf("its definition can't be read: %s", error->message);
}

static bool
read_all(struct offline_store *store, GError **error)
{
    g_autoptr(GArray) entries = store_list(store->store, error);
    g_autoptr(GArray) owned = entries ? store_list_owned(store->store, error) : NULL;
    const char *problem;

    if (!owned)
        return false;
    problem = store_owned_problem(store->store);
    if (problem)
        g_ptr_array_add(store->problems, g_strdup(problem));
    store_inventory_foreach(entries, owned, add_secret, store);
    parallel_run(store->secrets->len, load_definition, store);
    offline_unlock_read(store->paths, &store->keys, store->problems);
    return true;
}

/* store_open makes what is missing, and a wrong --root is not to leave folders behind. */
static bool
check_exists(const struct offline_paths *paths, GError **error)
{
    if (access(paths->secrets_dir, F_OK) == 0 || access(paths->virtcrypt_dir, F_OK) == 0)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
              "there is no store: neither %s nor %s is there", paths->secrets_dir,
              paths->virtcrypt_dir);
    return false;
}

struct offline_store *
offline_store_open(const struct offline_params *params, GError **error)
{
    g_autoptr(offline_store_t) store = g_new0(struct offline_store, 1);
    struct store_params store_params;

    store->takes_old = params->takes_old;
    store->problems = g_ptr_array_new_with_free_func(g_free);
    store->secrets = g_array_new(FALSE, TRUE, sizeof(struct offline_secret));
    g_array_set_clear_func(store->secrets, clear_secret);
    store->paths = offline_paths_new(params->root, params->is_session, error);
    if (!store->paths || !check_exists(store->paths, error))
        return NULL;
    if (store->paths->driver_lock) {
        store->driver_lock =
            daemon_lock_new(store->paths->driver_lock, LOCK_FOLDER_MODE, lock_remedy, error);
        if (!store->driver_lock)
            return NULL;
    }
    store_params = (struct store_params){
        .dir = store->paths->secrets_dir,
        .journal_dir = store->paths->journal_dir,
        .guests_dir = store->paths->guests_dir,
        .audit = store->paths->audit,
    };
    store->store = store_open(&store_params, error);
    return store->store && read_all(store, error) ? g_steal_pointer(&store) : NULL;
}

const struct offline_paths *
offline_store_paths(const struct offline_store *store)
{
    return store->paths;
}

const GPtrArray *
offline_store_problems(const struct offline_store *store)
{
    return store->problems;
}

guint
offline_store_count(const struct offline_store *store)
{
    return store->secrets->len;
}

const struct offline_secret *
offline_store_at(const struct offline_store *store, guint index)
{
    return secret_at(store, index);
}

const struct offline_secret *
offline_store_find(const struct offline_store *store, const char *name, GError **error)
{
    const struct offline_secret *found = NULL;
    struct uuid uuid;
    bool is_uuid = uuid_parse(name, &uuid);

    for (guint i = 0; i < store->secrets->len; i++) {
        const struct offline_secret *secret = secret_at(store, i);

        if (is_uuid ? !uuid_equal(&secret->entry.uuid, &uuid)
                    : !secret->def || g_strcmp0(secret->def->usage_id, name) != 0)
            continue;
        if (found) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "several secrets have the usage '%s': name one by its uuid", name);
            return NULL;
        }
        found = secret;
    }
    if (!found)
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "no secret '%s' in this store", name);
    return found;
}

/* ---- values ---- */

bool
offline_store_needs_person(const struct offline_store *store, const struct offline_key *key)
{
    return offline_unlock_needs_person(&store->keys, key);
}

static void
load_value(size_t index, void *opaque)
{
    struct offline_store *store = opaque;
    struct offline_secret *secret = secret_at(store, (guint)index);
    const struct service_source source = {
        .store = store->store,
        .generations = store->keys.generations,
        .index = store->takes_old ? NULL : store->keys.index,
        .def = secret->def,
        .owners = secret->owners,
    };

    if (secret->def && (secret->entry.has_key || secret->owners))
        service_read(&source, &secret->reading);
}

bool
offline_store_unlock(struct offline_store *store, const struct unlock_context *context,
                     const struct offline_key *key, GError **error)
{
    if (!offline_unlock(store->paths, context, key, &store->keys, store->problems, error))
        return false;
    parallel_run(store->secrets->len, load_value, store);
    return true;
}

const char *
offline_store_find_loss(const struct offline_secret *secret)
{
    if (!secret->entry.has_key && !secret->owners)
        return NULL;
    return secret->def ? secret->reading.value.unavailable : secret->problem;
}

struct secret_buf *
offline_store_open_value(const struct offline_store *store, const struct offline_secret *secret,
                         GError **error)
{
    const struct secret_value *value = &secret->reading.value;
    const char *loss = offline_store_find_loss(secret);
    char uuid[UUID_TEXT_SIZE];
    gsize len = 0;
    const void *bytes;

    if (loss) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "%s", loss);
        return NULL;
    }
    if (!value->sealed) {
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "secret '%s' does not have a value",
                  uuid_format(&secret->entry.uuid, uuid));
        return NULL;
    }
    bytes = g_bytes_get_data(value->sealed, &len);
    return sealed_parse(generations_key_of(store->keys.generations, bytes, len),
                        &(struct sealed_binding){secret->def, value->owner}, bytes, len, error);
}

bool
offline_store_audit(struct offline_store *store, const struct audit_event *event, GError **error)
{
    struct store_change change = {.uuid = *event->secret};

    change.audit = audit_event_members(event, error);
    return change.audit && store_commit(store->store, &change, error);
}
