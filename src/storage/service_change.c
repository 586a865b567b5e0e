/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is done to a volume that is there: delete, wipe, resize.
 */
#include "storage/container.h"
#include "storage/service_state.h"
#include "util/error.h"

static const struct service_lock_wish delete_wish = {SERVICE_LOCK_EXCLUSIVE, "being deleted", 0};
static const struct service_lock_wish wipe_wish = {SERVICE_LOCK_EXCLUSIVE, "being wiped", 0};
static const struct service_lock_wish resize_wish = {SERVICE_LOCK_EXCLUSIVE, "being resized", 0};

/* What an earlier deletion left is this deletion's work. */
static bool
finish_deletion(struct storage_service *service, const char *pool, const char *name,
                bool *ret_is_done, GError **error)
{
    g_autoptr(service_lock_t) lock =
        service_lock_take(service->locks, pool, name, &delete_wish, error);
    g_autoptr(volume_record_t) record =
        lock ? storage_records_get(service->records, pool, name, error) : NULL;

    if (!record)
        return false;
    *ret_is_done = record->state == VOLUME_STATE_DELETING;
    return !*ret_is_done || service_recover(service, record, error);
}

/* Its key would go, and it would still be there when what it is on is mounted. Of a logical pool,
 * LVM says whether a volume is no more. */
static bool
check_there(const struct pool_def *pool, const struct volume_record *record, GError **error)
{
    bool is_there;

    if (pool->type == POOL_TYPE_LOGICAL)
        return true;
    if (!container_find(record->device, &is_there, error))
        return false;
    if (!is_there)
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "volume '%s' of pool '%s' can't be deleted with its key, as %s is not there: "
                  "mount what it is on; or, if it is gone for good, make an empty file of that "
                  "name, and delete that",
                  record->name, record->pool, record->device);
    return is_there;
}

bool
storage_service_delete(struct storage_service *service, const char *pool, const char *name,
                       struct storage_progress *progress, GError **error)
{
    g_autoptr(service_lock_t) lock = NULL;
    g_autoptr(volume_record_t) record = NULL;
    g_autoptr(pool_def_t) active = storage_pools_get(service->pools, pool, error);
    bool is_done;

    if (!active || !finish_deletion(service, pool, name, &is_done, error))
        return false;
    if (is_done)
        return true;
    record = service_take_volume(service, pool, name, &delete_wish, &lock, error);
    if (!record || !service_check_unused(service, record, "deleted", error) ||
        !service_check_no_layer(service, record, "deleted", error) ||
        !check_there(active, record, error) || !service_close_unused(service, record, error) ||
        !storage_progress_check(progress, error))
        return false;
    record->state = VOLUME_STATE_DELETING;
    return storage_records_put(service->records, record, error) &&
           service_recover(service, record, error);
}

static bool
check_algorithm(const char *name, unsigned int algorithm, GError **error)
{
    if (algorithm == BACKEND_WIPE_ZERO || algorithm == BACKEND_WIPE_RANDOM ||
        algorithm == BACKEND_WIPE_TRIM)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_ARGUMENT_UNSUPPORTED,
              "volume '%s' can be wiped with algorithm zero, random or trim: its key is destroyed "
              "first, so more passes gain nothing",
              name);
    return false;
}

bool
storage_service_wipe(struct storage_service *service, const char *pool, const char *name,
                     unsigned int algorithm, struct storage_progress *progress, GError **error)
{
    g_autoptr(service_lock_t) lock = NULL;
    g_autoptr(volume_record_t) record =
        service_take_volume(service, pool, name, &wipe_wish, &lock, error);
    const struct backend *backend = record ? backend_find(record->kind) : NULL;
    g_autoptr(secret_buf_t) key = NULL;

    if (!record || !check_algorithm(name, algorithm, error) ||
        !service_check_unused(service, record, "wiped", error) ||
        !service_check_no_layer(service, record, "wiped", error) ||
        !service_close_unused(service, record, error))
        return false;
    key = service_secret_get(service, record, error);
    if (!key || !backend->check_key(record, key, error) || !storage_progress_check(progress, error))
        return false;
    record->state = VOLUME_STATE_WIPING;
    if (!storage_records_put(service->records, record, error))
        return false;
    if (!backend->wipe(record, algorithm, key, record->secret_is_generated, progress, error)) {
        service_worker_wake(service->worker);
        return false;
    }
    record->state = VOLUME_STATE_READY;
    return storage_records_put(service->records, record, error);
}

/* virStorageVolResize: with DELTA `capacity` is what it grows by (or, with SHRINK, shrinks by). */
static bool
get_new_capacity(const struct volume_record *record, uint64_t capacity, unsigned int flags,
                 uint64_t *ret_capacity, GError **error)
{
    bool is_shrink = flags & STORAGE_RESIZE_SHRINK;
    struct backend_info info;

    if (!backend_find(record->kind)->get_info(record, &info, error))
        return false;
    *ret_capacity = capacity;
    if (flags & STORAGE_RESIZE_DELTA) {
        if (is_shrink ? capacity > info.capacity : capacity > UINT64_MAX - info.capacity) {
            error_set(error, ERROR_FROM_STORAGE, ERROR_OVERFLOW,
                      "volume '%s' has %" G_GUINT64_FORMAT
                      " bytes and can't be resized by %" G_GUINT64_FORMAT,
                      record->name, info.capacity, capacity);
            return false;
        }
        *ret_capacity = is_shrink ? info.capacity - capacity : info.capacity + capacity;
    }
    if (*ret_capacity >= info.capacity || is_shrink)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "Can't shrink capacity below current capacity unless shrink flag explicitly "
              "specified");
    return false;
}

bool
storage_service_resize(struct storage_service *service, const struct storage_resize *wish,
                       struct storage_progress *progress, GError **error)
{
    g_autoptr(pool_def_t) active = storage_pools_get(service->pools, wish->pool, error);
    g_autoptr(service_lock_t) lock = NULL;
    g_autoptr(volume_record_t) record = NULL;
    g_autoptr(secret_buf_t) key = NULL;
    struct backend_resize_params params = {
        .pool = active,
        .preallocate = wish->flags & STORAGE_RESIZE_ALLOCATE,
        .shrink = wish->flags & STORAGE_RESIZE_SHRINK,
    };
    uint64_t bytes;

    if (!active)
        return false;
    record = service_take_volume(service, wish->pool, wish->name, &resize_wish, &lock, error);
    if (!record || !get_new_capacity(record, wish->capacity, wish->flags, &bytes, error))
        return false;
    if (record->kind != VOLUME_KIND_DM_CRYPT || (wish->flags & STORAGE_RESIZE_SHRINK)) {
        if (!service_check_unused(service, record, "resized", error))
            return false;
    }
    key = service_secret_get(service, record, error);
    params.record = record;
    params.capacity = bytes;
    params.key = key;
    if (!key || !backend_find(record->kind)->resize(&params, progress, error))
        return false;
    if (record->kind != VOLUME_KIND_DM_CRYPT)
        return true;
    record->capacity = bytes;
    return storage_records_put(service->records, record, error);
}
