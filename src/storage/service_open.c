/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: opening and closing of dm-crypt volumes for their users. The use is written before the
 * mapping is made and removed before it goes: a stop in between leaves an open mapping without a
 * user, which the next start closes, but never a user without its use.
 */
#include "storage/container.h"
#include "storage/luks.h"
#include "storage/service_state.h"
#include "util/error.h"
#include "util/log.h"

struct place {
    struct mapping_params params;
    char *alias;
};

static void
place_clear(struct place *place)
{
    g_free(place->alias);
}
typedef struct place place_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(place_t, place_clear)

static void
place_init(struct place *place, struct storage_service *service, const struct volume_record *record)
{
    place->alias = storage_records_alias(record);
    place->params.device_dir = service->device_dir;
    place->params.record = record;
    place->params.alias = place->alias;
}

bool
service_close_unused(struct storage_service *service, const struct volume_record *record,
                     GError **error)
{
    g_auto(place_t) place = {0};

    if (record->kind != VOLUME_KIND_DM_CRYPT ||
        storage_uses_count(service->uses, record->pool, record->name) > 0)
        return true;
    place_init(&place, service, record);
    return mapping_close(&place.params, error);
}

static bool
get_is_readonly(const struct volume_record *record, bool *ret_is_readonly, GError **error)
{
    g_autofree char *name = mapping_name(record->pool, record->name);
    g_auto(luks_mapping_t) mapping = {0};

    if (!luks_find_mapping(name, &mapping, error))
        return false;
    *ret_is_readonly = mapping.is_readonly;
    return true;
}

/* A mapping that is open already does, unless it only reads and this user writes. */
static bool
check_open_mapping(struct storage_service *service, const struct volume_record *record,
                   const struct storage_user *user, bool *ret_is_open, GError **error)
{
    g_autofree char *users = NULL;
    bool is_readonly;

    *ret_is_open = mapping_is_open(record);
    if (!*ret_is_open || user->is_readonly)
        return true;
    if (!get_is_readonly(record, &is_readonly, error))
        return false;
    if (!is_readonly)
        return true;
    users = storage_uses_describe(service->uses, record->pool, record->name);
    if (users) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
                  "volume '%s' of pool '%s' is open for reading only, for %s: it can be opened for "
                  "writing when that has ended",
                  record->name, record->pool, users);
        return false;
    }
    *ret_is_open = false;
    return service_close_unused(service, record, error);
}

static bool
open_mapping(struct storage_service *service, const struct volume_record *record, bool is_readonly,
             bool is_open, GError **error)
{
    g_autoptr(secret_buf_t) key = NULL;
    g_auto(place_t) place = {0};

    if (!is_open) {
        key = service_secret_get(service, record, error);
        if (!key)
            return false;
        if (!container_make_available(record->device, error)) {
            g_prefix_error(error, "can't open volume '%s' of pool '%s': ", record->name,
                           record->pool);
            return false;
        }
    }
    place_init(&place, service, record);
    if (mapping_open(&place.params, is_readonly, key, error))
        return true;
    g_prefix_error(error, "can't open volume '%s' of pool '%s': ", record->name, record->pool);
    return false;
}

bool
service_open_for(struct storage_service *service, const struct volume_record *record,
                 const struct storage_user *user, GError **error)
{
    g_autoptr(GError) failure = NULL;
    bool is_open;

    if (record->kind != VOLUME_KIND_DM_CRYPT) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "volume '%s' of pool '%s' is no dm-crypt volume: QEMU opens %s itself",
                  record->name, record->pool, record->path);
        return false;
    }
    if (!check_open_mapping(service, record, user, &is_open, error) ||
        !storage_uses_add(service->uses, record->pool, record->name, user, error))
        return false;
    if (open_mapping(service, record, user->is_readonly, is_open, error))
        return true;
    if (!is_open && !storage_uses_remove(service->uses, record->pool, record->name, user, &failure))
        log_warn("%s", failure->message);
    return false;
}

bool
service_close_for(struct storage_service *service, const struct volume_record *record,
                  const struct storage_user *user, GError **error)
{
    return storage_uses_remove(service->uses, record->pool, record->name, user, error) &&
           service_close_unused(service, record, error);
}

char *
storage_service_open(struct storage_service *service, const char *pool, const char *name,
                     const struct storage_user *user, GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "being opened",
        .wait_ms = SERVICE_GUEST_WAIT_MS,
    };
    g_autoptr(service_lock_t) lock = NULL;
    g_autoptr(volume_record_t) record =
        service_take_volume(service, pool, name, &wish, &lock, error);

    if (!record || !service_open_for(service, record, user, error))
        return NULL;
    return g_strdup(record->path);
}

bool
storage_service_close(struct storage_service *service, const char *pool, const char *name,
                      const struct storage_user *user, GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "being closed",
        .wait_ms = SERVICE_GUEST_WAIT_MS,
    };
    g_autoptr(service_lock_t) lock = NULL;
    g_autoptr(volume_record_t) record =
        service_take_volume(service, pool, name, &wish, &lock, error);
    g_autoptr(GError) failure = NULL;

    if (!record)
        return false;
    if (service_close_for(service, record, user, &failure))
        return true;
    if (!error_is(failure, ERROR_RESOURCE_BUSY)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (user->kind != STORAGE_USER_MANUAL) {
        service_worker_close_later(service->worker, pool, name);
        return true;
    }
    /* Somebody whom we do not know has it open: it stays so, and this use with it. */
    if (storage_uses_add(service->uses, pool, name, user, error))
        g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}
