/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a stop at any instant leaves, and how it is undone or finished. Each step may have
 * been done before, and each is repeated until the record says that it is over.
 */
#include <unistd.h>

#include "storage/container.h"
#include "storage/service_state.h"
#include "util/error.h"
#include "util/log.h"

/* The secret is ours and goes with the volume. */
static bool
drop_own_secret(struct storage_service *service, const struct volume_record *record,
                const char *done, GError **error)
{
    if (!record->secret_is_generated && !record->secret_is_stored)
        return true;
    return service_secret_drop(service, record, &record->encryption->secret_uuid, done, error);
}

/* Whether the container of an unfinished creation was made by it. While its undoing waited (we, the
 * custodian or the pool were away) somebody may have given the name to a volume of their own: a
 * logical volume without our tag, or a file that the key, which was stored before, does not open.
 */
static bool
find_owner(struct storage_service *service, const struct pool_def *pool,
           const struct volume_record *record, bool *ret_is_ours, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_buf_t) key = NULL;

    *ret_is_ours = true;
    if (record->state != VOLUME_STATE_CREATING || !record->is_made)
        return true;
    if (pool->type == POOL_TYPE_LOGICAL)
        return container_is_ours(pool, record->device, ret_is_ours, error);
    /* dm-crypt in a file is judged where it is removed; in plain mode nothing can be proved. */
    if (record->kind == VOLUME_KIND_DM_CRYPT || access(record->device, F_OK) < 0)
        return true;
    key = service->keys.get(service->keys.opaque, &record->encryption->secret_uuid, &failure);
    if (!key && !error_is(failure, ERROR_NO_SECRET)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    *ret_is_ours = key && backend_find(record->kind)->check_key(record, key, NULL);
    return true;
}

static bool
remove_container(struct storage_service *service, const struct pool_def *pool,
                 const struct volume_record *record, GError **error)
{
    bool is_ours;

    if (!find_owner(service, pool, record, &is_ours, error))
        return false;
    if (is_ours)
        return backend_find(record->kind)->remove(pool, record, error);
    log_warn("volume '%s' of pool '%s' was not finished and is undone; %s was made by somebody "
             "else meanwhile, and stays",
             record->name, record->pool, record->device);
    return !record->temporary || container_remove(pool, record->temporary, error);
}

/* Container, secret, record: for a creation that failed and for a deletion. */
static bool
remove_all(struct storage_service *service, const struct volume_record *record, GError **error)
{
    g_autoptr(pool_def_t) pool = storage_pools_get(service->pools, record->pool, error);
    const char *done = record->state == VOLUME_STATE_CREATING ? "not created" : "deleted";

    return pool && service_close_unused(service, record, error) &&
           remove_container(service, pool, record, error) &&
           drop_own_secret(service, record, done, error) &&
           storage_records_remove(service->records, record->pool, record->name, error);
}

static bool
undo_adoption(struct storage_service *service, const struct volume_record *record, GError **error)
{
    return drop_own_secret(service, record, "not adopted", error) &&
           storage_records_remove(service->records, record->pool, record->name, error);
}

/* The key of secret `uuid`, if there is one and it opens the volume; else NULL, and with an error
 * if that can't be said now. */
static struct secret_buf *
get_opening_key(struct storage_service *service, const struct volume_record *record,
                const struct uuid *uuid, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_buf_t) key = service->keys.get(service->keys.opaque, uuid, &failure);

    if (key && backend_find(record->kind)->check_key(record, key, &failure))
        return g_steal_pointer(&key);
    if (!error_is(failure, key ? ERROR_AUTH_FAILED : ERROR_NO_SECRET))
        g_propagate_error(error, g_steal_pointer(&failure));
    return NULL;
}

void
service_swap_secrets(struct volume_record *record)
{
    struct uuid old = record->encryption->secret_uuid;

    record->encryption->secret_uuid = record->other_secret;
    record->other_secret = old;
    record->other_secret_is_made = record->secret_is_generated || record->secret_is_stored;
    record->secret_is_generated = true;
    record->secret_is_stored = false;
}

static bool
put_rekeyed(struct storage_service *service, const struct volume_record *record, GError **error)
{
    g_autoptr(volume_record_t) ready = volume_record_copy(record);

    ready->state = VOLUME_STATE_READY;
    ready->has_other_secret = false;
    ready->other_secret_is_made = false;
    return storage_records_put(service->records, ready, error);
}

/* The record was put back from a time before the present key: it is the record that is wrong. */
static bool
adopt_other_secret(struct storage_service *service, struct volume_record *record, GError **error)
{
    log_warn("the record of volume '%s' of pool '%s' is older than its key, and follows it",
             record->name, record->pool);
    service_swap_secrets(record);
    return put_rekeyed(service, record, error);
}

/* Nothing is taken away before the key that stays is proved. */
bool
service_finish_rekey(struct storage_service *service, struct volume_record *record, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_buf_t) own =
        get_opening_key(service, record, &record->encryption->secret_uuid, &failure);
    g_autoptr(secret_buf_t) other =
        failure ? NULL : get_opening_key(service, record, &record->other_secret, &failure);

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (!own && other)
        return adopt_other_secret(service, record, error);
    if (other && !backend_find(record->kind)->remove_key(record, other, error))
        return false;
    /* Without any that opens it, whatever there is is kept: somebody may know more. */
    if (own && record->other_secret_is_made &&
        !service_secret_drop(service, record, &record->other_secret, "re-keyed", error))
        return false;
    return put_rekeyed(service, record, error);
}

/* The header may be gone, so the key can't be proved by it, and a cheap keyslot is for a proven
 * key alone. */
static bool
finish_wipe(struct storage_service *service, const struct volume_record *record, GError **error)
{
    const struct backend *backend = backend_find(record->kind);
    g_autoptr(volume_record_t) ready = volume_record_copy(record);
    g_autoptr(secret_buf_t) key = service_secret_get(service, record, error);
    bool is_proven;

    if (!key)
        return false;
    is_proven = record->secret_is_generated && backend->check_key(record, key, NULL);
    if (!backend->wipe(record, BACKEND_WIPE_ZERO, key, is_proven, NULL, error))
        return false;
    ready->state = VOLUME_STATE_READY;
    return storage_records_put(service->records, ready, error);
}

bool
service_recover(struct storage_service *service, const struct volume_record *record, GError **error)
{
    g_autoptr(volume_record_t) copy = NULL;

    switch (record->state) {
    case VOLUME_STATE_CREATING:
    case VOLUME_STATE_DELETING:
        return remove_all(service, record, error);
    case VOLUME_STATE_REKEYING:
        copy = volume_record_copy(record);
        return service_finish_rekey(service, copy, error);
    case VOLUME_STATE_WIPING:
        return finish_wipe(service, record, error);
    case VOLUME_STATE_ADOPTING:
        return undo_adoption(service, record, error);
    case VOLUME_STATE_READY:
    case VOLUME_STATE_LAST:
        break;
    }
    return true;
}

/* ---- the start ---- */

static void
add_guest_use(struct storage_service *service, const struct domain_disks *guest,
              const struct volume_record *record, bool is_readonly)
{
    const struct storage_user user = {
        .kind = STORAGE_USER_GUEST,
        .guest = guest->uuid,
        .name = guest->name,
        .is_readonly = is_readonly,
    };
    g_autoptr(GError) error = NULL;

    if (!storage_uses_add(service->uses, record->pool, record->name, &user, &error))
        log_warn("%s", error->message);
}

static void
add_disk_uses(struct storage_service *service, const struct domain_disks *guest,
              const struct domain_disk *disk)
{
    for (guint i = 0; i < disk->sources->len; i++) {
        const struct disk_source *source = disk->sources->pdata[i];
        g_autoptr(volume_record_t) record = NULL;
        bool is_device = false;

        if (source->type == DISK_SOURCE_VOLUME)
            record = storage_records_get(service->records, source->pool, source->volume, NULL);
        else if (source->path)
            record = storage_records_get_by_path(service->records, source->path, &is_device);
        if (record && record->kind == VOLUME_KIND_DM_CRYPT && !is_device)
            add_guest_use(service, guest, record, disk->is_readonly);
    }
}

static void
rebuild_uses(struct storage_service *service)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) guests = storage_guests_list(service->guest_state_dir, &error);
    g_autoptr(GPtrArray) running = g_ptr_array_new();

    if (!guests) {
        log_error("the uses of volumes stay as they were written: %s", error->message);
        return;
    }
    for (guint i = 0; i < guests->len; i++) {
        struct domain_disks *guest = guests->pdata[i];

        g_ptr_array_add(running, &guest->uuid);
        for (guint k = 0; k < guest->disks->len; k++)
            add_disk_uses(service, guest, guest->disks->pdata[k]);
    }
    storage_uses_drop_missing(service->uses, running, SERVICE_START_GRACE_S);
}

static void
settle(struct storage_service *service, const struct volume_record *record)
{
    g_autoptr(GError) error = NULL;

    if (record->state == VOLUME_STATE_READY) {
        if (!service_close_unused(service, record, &error))
            service_worker_close_later(service->worker, record->pool, record->name);
    } else if (record->state == VOLUME_STATE_WIPING) {
        service_worker_wake(service->worker); /* may be long */
    } else if (!service_recover(service, record, &error)) {
        log_warn("volume '%s' of pool '%s' is not whole yet, and is tried again: %s", record->name,
                 record->pool, error->message);
    }
}

void
service_recover_all(struct storage_service *service)
{
    g_autoptr(GPtrArray) records = storage_records_list(service->records, NULL);

    rebuild_uses(service);
    for (guint i = 0; i < records->len; i++) {
        const struct volume_record *listed = records->pdata[i];
        const struct service_lock_wish wish = {
            .mode = SERVICE_LOCK_EXCLUSIVE,
            .doing = "being recovered",
        };
        g_autoptr(service_lock_t) lock =
            service_lock_take(service->locks, listed->pool, listed->name, &wish, NULL);

        if (lock)
            settle(service, listed);
    }
}
