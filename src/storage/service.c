/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the service as a whole, and what only asks: which volumes there are, how they are.
 */
#include <string.h>

#include "storage/service_source.h"
#include "util/error.h"
#include "util/log.h"

enum { RETRY_DEFAULT_S = 30 };

static const char *const state_texts[] = {
    "being created", NULL, "being re-keyed", "being deleted", "being wiped", "being adopted",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_texts) == VOLUME_STATE_LAST);

static struct storage_service *
service_new(const struct storage_service_params *params)
{
    struct storage_service *service = g_new0(struct storage_service, 1);

    service->device_dir = g_strdup(params->device_dir);
    service->guest_state_dir = g_strdup(params->guest_state_dir);
    service->retry_s = params->retry_s ? params->retry_s : RETRY_DEFAULT_S;
    service->keys = params->keys;
    service->opaque = params->opaque;
    service->is_needed_elsewhere = params->is_needed_elsewhere;
    service->locks = service_locks_new();
    service->pools =
        storage_pools_new(params->pool_state_dir, params->pool_config_dir, params->policy_dir);
    g_mutex_init(&service->secrets_mutex);
    g_mutex_init(&service->sources_mutex);
    return service;
}

struct storage_service *
storage_service_new(const struct storage_service_params *params, GError **error)
{
    struct storage_service *service = service_new(params);

    service->records = storage_records_new(params->volumes_dir, params->device_dir, error);
    if (service->records)
        storage_records_set_watcher(service->records, params->on_change, params->opaque);
    service->identities = storage_identities_new(service->records);
    service->uses = service->records ? storage_uses_new(params->uses_dir, error) : NULL;
    if (!service->uses) {
        storage_service_free(service);
        return NULL;
    }
    service->worker = service_worker_new(service);
    service_recover_all(service);
    return service;
}

void
storage_service_free(struct storage_service *service)
{
    if (!service)
        return;
    service_worker_free(service->worker);
    storage_uses_free(service->uses);
    storage_identities_free(service->identities);
    storage_records_free(service->records);
    storage_pools_free(service->pools);
    service_locks_free(service->locks);
    g_mutex_clear(&service->secrets_mutex);
    g_mutex_clear(&service->sources_mutex);
    g_free(service->device_dir);
    g_free(service->guest_state_dir);
    g_free(service);
}

struct volume_record *
service_take_volume(struct storage_service *service, const char *pool, const char *name,
                    const struct service_lock_wish *wish, struct service_lock **ret_lock,
                    GError **error)
{
    g_autoptr(service_lock_t) lock = service_lock_take(service->locks, pool, name, wish, error);
    g_autoptr(volume_record_t) record =
        lock ? storage_records_get(service->records, pool, name, error) : NULL;

    if (!record)
        return NULL;
    if (record->state != VOLUME_STATE_READY) {
        if (wish->mode == SERVICE_LOCK_SHARED || record->state == VOLUME_STATE_WIPING) {
            service_worker_wake(service->worker);
            error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
                      "volume '%s' of pool '%s' is %s: try again when that is done", name, pool,
                      state_texts[record->state]);
            return NULL;
        }
        if (!service_recover(service, record, error)) {
            g_prefix_error(error, "volume '%s' of pool '%s' is still %s: ", name, pool,
                           state_texts[record->state]);
            return NULL;
        }
        g_clear_pointer(&record, volume_record_free);
        record = storage_records_get(service->records, pool, name, error);
        if (!record)
            return NULL;
    }
    *ret_lock = g_steal_pointer(&lock);
    return g_steal_pointer(&record);
}

/* An image of ours that is a layer on it; NULL: none. */
static char *
find_layer(struct storage_service *service, const struct volume_record *base)
{
    g_autoptr(GPtrArray) records = storage_records_list(service->records, NULL);

    for (guint i = 0; i < records->len; i++) {
        const struct volume_record *record = records->pdata[i];
        g_auto(service_sniff_t) sniff = {0};
        g_autoptr(volume_record_t) found = NULL;
        g_autofree char *parent = g_path_get_dirname(record->device);
        g_autofree char *backing = NULL;

        if (record->kind != VOLUME_KIND_QCOW2 || !service_sniff(record->device, &sniff, NULL) ||
            !sniff.backing)
            continue;
        backing = g_canonicalize_filename(sniff.backing, parent);
        found = storage_records_get_by_path(service->records, backing, NULL);
        if (found && strcmp(found->pool, base->pool) == 0 && strcmp(found->name, base->name) == 0)
            return g_strdup(record->name);
    }
    return NULL;
}

bool
service_check_no_layer(struct storage_service *service, const struct volume_record *record,
                       const char *what, GError **error)
{
    g_autofree char *layer = find_layer(service, record);

    if (!layer)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
              "volume '%s' is the backing file of volume '%s' and can't be %s", record->name, layer,
              what);
    return false;
}

bool
service_check_unused(struct storage_service *service, const struct volume_record *record,
                     const char *what, GError **error)
{
    g_autofree char *users = storage_uses_describe(service->uses, record->pool, record->name);
    g_autoptr(GPtrArray) guests = NULL;
    const struct domain_disks *guest;

    if (users) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
                  "volume '%s' is in use by %s and can't be %s", record->name, users, what);
        return false;
    }
    guests = storage_guests_list(service->guest_state_dir, error);
    if (!guests)
        return false;
    guest = storage_guests_find_user(guests, record->pool, record->name, record->path);
    if (!guest)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
              "volume '%s' is in use by guest '%s' and can't be %s", record->name, guest->name,
              what);
    return false;
}

void
storage_volume_free(struct storage_volume *volume)
{
    if (!volume)
        return;
    g_free(volume->pool);
    g_free(volume->name);
    g_free(volume->path);
    g_free(volume->users);
    g_free(volume->state);
    g_strfreev(volume->warnings);
    g_free(volume);
}

struct storage_volume *
service_volume_new(struct storage_service *service, const struct volume_record *record)
{
    struct storage_volume *volume = g_new0(struct storage_volume, 1);

    volume->pool = g_strdup(record->pool);
    volume->name = g_strdup(record->name);
    volume->path = g_strdup(record->path);
    volume->kind = record->kind;
    volume->secret = record->encryption->secret_uuid;
    volume->secret_is_generated = record->secret_is_generated;
    volume->is_open = record->kind == VOLUME_KIND_DM_CRYPT && mapping_is_open(record);
    volume->users = storage_uses_describe(service->uses, record->pool, record->name);
    volume->state = g_strdup(state_texts[record->state]);
    return volume;
}

struct storage_volume *
storage_service_get(struct storage_service *service, const char *pool, const char *name,
                    GError **error)
{
    g_autoptr(volume_record_t) record = storage_records_get(service->records, pool, name, error);

    return record ? service_volume_new(service, record) : NULL;
}

struct storage_volume *
storage_service_get_by_path(struct storage_service *service, const char *path, GError **error)
{
    g_autoptr(volume_record_t) record = storage_records_get_by_path(service->records, path, NULL);

    if (record)
        return service_volume_new(service, record);
    error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_VOL,
              "no storage vol with matching path '%s'", path);
    return NULL;
}

struct volume_record *
storage_service_find_record(struct storage_service *service, const char *path, const char *pool,
                            const char *volume, GError **error)
{
    g_autoptr(GError) failure = NULL;
    struct volume_record *record =
        path ? storage_identities_find(service->identities, path)
             : storage_records_get(service->records, pool, volume, &failure);

    if (failure && !error_is(failure, ERROR_NO_STORAGE_VOL))
        g_propagate_error(error, g_steal_pointer(&failure));
    return record;
}

static void
free_volume(void *volume)
{
    storage_volume_free(volume);
}

GPtrArray *
storage_service_list(struct storage_service *service, const char *pool)
{
    g_autoptr(GPtrArray) records = storage_records_list(service->records, pool);
    GPtrArray *volumes = g_ptr_array_new_with_free_func(free_volume);

    for (guint i = 0; i < records->len; i++)
        g_ptr_array_add(volumes, service_volume_new(service, records->pdata[i]));
    return volumes;
}

/* For what only asks: a volume that is being made or deleted is none yet, or none any more. */
static struct volume_record *
get_whole(struct storage_service *service, const char *pool, const char *name, GError **error)
{
    g_autoptr(volume_record_t) record = storage_records_get(service->records, pool, name, error);

    if (!record)
        return NULL;
    if (record->state != VOLUME_STATE_CREATING && record->state != VOLUME_STATE_DELETING)
        return g_steal_pointer(&record);
    error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_VOL,
              "no storage vol with matching name '%s': it is %s", name, state_texts[record->state]);
    return NULL;
}

bool
storage_service_get_info(struct storage_service *service, const char *pool, const char *name,
                         struct backend_info *ret_info, GError **error)
{
    g_autoptr(volume_record_t) record = get_whole(service, pool, name, error);

    return record && backend_find(record->kind)->get_info(record, ret_info, error);
}

char *
storage_service_describe(struct storage_service *service, const char *pool, const char *name,
                         GError **error)
{
    g_autoptr(volume_record_t) record = get_whole(service, pool, name, error);
    g_autoptr(volume_def_t) def =
        record ? backend_find(record->kind)->describe(record, error) : NULL;

    if (!def)
        return NULL;
    g_free(def->name);
    def->name = g_strdup(record->name);
    g_free(def->path);
    def->path = g_strdup(record->path);
    encryption_free(def->encryption);
    def->encryption = encryption_copy(record->encryption);
    return volume_def_format(def);
}

struct storage_pools *
storage_service_pools(struct storage_service *service)
{
    return service->pools;
}

unsigned int
storage_service_count(struct storage_service *service)
{
    g_autoptr(GPtrArray) records = storage_records_list(service->records, NULL);

    return records->len;
}

unsigned int
storage_service_count_pending(struct storage_service *service)
{
    g_autoptr(GPtrArray) records = storage_records_list(service->records, NULL);
    unsigned int count = 0;

    for (guint i = 0; i < records->len; i++) {
        const struct volume_record *record = records->pdata[i];

        count += record->state != VOLUME_STATE_READY;
    }
    return count;
}
