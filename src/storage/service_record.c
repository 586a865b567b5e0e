/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: records that travel: a volume on shared storage belongs to the host whose guest has its
 * key.
 */
#include <string.h>

#include "storage/service_state.h"
#include "util/error.h"
#include "util/log.h"

static bool
check_can_travel(const struct volume_record *record, GError **error)
{
    if (record->kind == VOLUME_KIND_DM_CRYPT) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_UNSUPPORTED,
                  "volume '%s' of pool '%s' is dm-crypt, which is opened on this host alone: only "
                  "guests on images that QEMU opens can be migrated with their keys",
                  record->name, record->pool);
        return false;
    }
    if (record->state == VOLUME_STATE_READY)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
              "volume '%s' of pool '%s' is being changed: try again when that is done",
              record->name, record->pool);
    return false;
}

char *
storage_service_give_record(struct storage_service *service, const char *path, GError **error)
{
    g_autoptr(volume_record_t) record = storage_records_get_by_path(service->records, path, NULL);

    return record && check_can_travel(record, error) ? volume_record_format(record) : NULL;
}

/* The other host's word alone makes no file of this host a volume that vol-delete may remove. */
static bool
is_as_here(struct storage_service *service, const struct volume_record *record)
{
    g_autoptr(pool_def_t) pool = storage_pools_get(service->pools, record->pool, NULL);
    g_autofree char *path = NULL;

    if (!pool || !pool->target_path || record->state != VOLUME_STATE_READY ||
        record->kind == VOLUME_KIND_DM_CRYPT || record->temporary || strchr(record->name, '/'))
        return false;
    path = g_build_filename(pool->target_path, record->name, NULL);
    return strcmp(record->path, path) == 0 && strcmp(record->device, path) == 0;
}

/* Whether the volume has one already, or may: its file can't be read. */
static bool
has_record(struct storage_service *service, const struct volume_record *record)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(volume_record_t) known =
        storage_records_get(service->records, record->pool, record->name, &failure);
    g_autoptr(volume_record_t) other =
        storage_records_get_by_path(service->records, record->path, NULL);

    return known || other || !error_is(failure, ERROR_NO_STORAGE_VOL);
}

bool
storage_service_take_record(struct storage_service *service, const struct volume_record *record,
                            const struct secret_buf *key, GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "coming from another host",
        .wait_ms = SERVICE_GUEST_WAIT_MS,
    };
    g_autoptr(service_lock_t) lock = NULL;
    g_autoptr(GError) failure = NULL;

    if (!is_as_here(service, record))
        return true;
    lock = service_lock_take(service->locks, record->pool, record->name, &wish, error);
    if (!lock)
        return false;
    if (has_record(service, record))
        return true;
    if (!backend_find(record->kind)->check_key(record, key, &failure)) {
        log_info("volume '%s' of pool '%s' stays unknown here: %s", record->name, record->pool,
                 failure->message);
        return true;
    }
    return storage_records_put(service->records, record, error);
}

bool
storage_service_forget(struct storage_service *service, const char *path, const struct uuid *secret,
                       GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "being given to another host",
        .wait_ms = SERVICE_GUEST_WAIT_MS,
    };
    g_autoptr(volume_record_t) found = storage_records_get_by_path(service->records, path, NULL);
    g_autoptr(service_lock_t) lock = NULL;
    g_autoptr(volume_record_t) record = NULL;

    if (!found)
        return true;
    lock = service_lock_take(service->locks, found->pool, found->name, &wish, error);
    if (!lock)
        return false;
    record = storage_records_get_by_path(service->records, path, NULL);
    if (!record || record->kind == VOLUME_KIND_DM_CRYPT || record->state != VOLUME_STATE_READY ||
        !uuid_equal(&record->encryption->secret_uuid, secret))
        return true;
    return storage_records_remove(service->records, record->pool, record->name, error);
}
