/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the creation of a volume: record, secret, container, record. Until the last step a failure,
 * or the next start, undoes it all.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/service_clear.h"
#include "storage/service_plan.h"
#include "storage/signature.h"
#include "util/error.h"
#include "util/log.h"

struct creation {
    struct storage_service *service;
    const struct storage_create_request *request;
    struct service_plan *plan;
    struct secret_buf *key;
    struct secret_buf *backing_key;
};

static void
creation_clear(struct creation *creation)
{
    secret_buf_free(creation->key);
    secret_buf_free(creation->backing_key);
    service_plan_free(creation->plan);
}
typedef struct creation creation_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(creation_t, creation_clear)

bool
storage_service_wants(struct storage_service *service, const struct storage_create_request *request,
                      bool *ret_wants, GError **error)
{
    return service_plan_wants(service, request, ret_wants, error);
}

/* ---- is there one? ---- */

static bool
check_path_is_free(const struct volume_record *record, const char *path, GError **error)
{
    struct stat info;

    if (lstat(path, &info) != 0 && errno == ENOENT)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_STORAGE_VOL_EXIST, "'%s' (there is %s)",
              record->name, path);
    return false;
}

/* A device that is formatted as it is: nobody else's, and empty unless that does not matter. */
static bool
check_device_is_free(struct creation *creation, GError **error)
{
    const char *device = creation->plan->record->device;
    g_autoptr(volume_record_t) other =
        storage_records_get_by_path(creation->service->records, device, NULL);

    if (!other)
        return creation->request->flags & STORAGE_CREATE_OVERWRITE ||
               signature_check_none(device, error);
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
              "the device %s is that of volume '%s' of pool '%s'", device, other->name,
              other->pool);
    return false;
}

static bool
check_is_new(struct creation *creation, GError **error)
{
    struct storage_records *records = creation->service->records;
    const struct volume_record *record = creation->plan->record;
    g_autoptr(GError) failure = NULL;
    g_autoptr(volume_record_t) known =
        storage_records_get(records, record->pool, record->name, &failure);

    if (!known && !error_is(failure, ERROR_NO_STORAGE_VOL)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (known && (known->state == VOLUME_STATE_READY || known->state == VOLUME_STATE_REKEYING ||
                  known->state == VOLUME_STATE_WIPING)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_STORAGE_VOL_EXIST, "'%s'", record->name);
        return false;
    }
    if (known && !service_recover(creation->service, known, error)) {
        g_prefix_error(error, "an earlier volume '%s' is not removed yet: ", record->name);
        return false;
    }
    if (!check_path_is_free(record, record->path, error))
        return false;
    return record->is_made ? check_path_is_free(record, record->device, error)
                           : check_device_is_free(creation, error);
}

/* ---- its key ---- */

static bool
take_source_key(struct creation *creation, GError **error)
{
    struct service_source *source = creation->plan->source;
    struct volume_record *record = creation->plan->record;

    g_assert(source); /* SERVICE_KEY_SOURCE is planned of a source alone */
    record->encryption->secret_by = ENCRYPTION_SECRET_UUID;
    record->encryption->secret_uuid = source->secret;
    creation->key = g_steal_pointer(&source->key);
    if (!creation->key) {
        creation->key = service_secret_get(creation->service, source->record, error);
        if (!creation->key ||
            !backend_find(source->record->kind)->check_key(source->record, creation->key, error))
            return false;
        source->key_is_generated = source->record->secret_is_generated;
    } else {
        source->key = secret_buf_new_from(secret_buf_bytes(creation->key),
                                          secret_buf_len(creation->key), error);
        if (!source->key)
            return false;
    }
    record->secret_is_generated = source->key_is_generated;
    record->secret_is_stored = source->record && source->record->secret_is_stored;
    return true;
}

static bool
take_new_key(struct creation *creation, GError **error)
{
    struct volume_record *record = creation->plan->record;
    const struct secret_buf *given = creation->request->key;

    record->secret_is_generated = !given;
    record->secret_is_stored = given;
    record->encryption->secret_by = ENCRYPTION_SECRET_UUID;
    if (!uuid_generate_random(&record->encryption->secret_uuid, error))
        return false;
    if (given && secret_buf_len(given) == 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "the key given for volume '%s' is empty", record->name);
        return false;
    }
    creation->key = given
                        ? secret_buf_new_from(secret_buf_bytes(given), secret_buf_len(given), error)
                        : storage_service_generate_key(error);
    return creation->key;
}

static bool
take_key(struct creation *creation, GError **error)
{
    switch (creation->plan->key_from) {
    case SERVICE_KEY_SOURCE:
        return take_source_key(creation, error);
    case SERVICE_KEY_NAMED:
        creation->key = service_secret_get(creation->service, creation->plan->record, error);
        if (creation->key)
            return true;
        g_prefix_error(error, "define the secret and set its value first: ");
        return false;
    case SERVICE_KEY_GENERATED:
    case SERVICE_KEY_GIVEN:
        break;
    }
    return take_new_key(creation, error);
}

/* An encrypted backing file of ours: QEMU has to open it to make an image on it. */
static bool
take_backing_key(struct creation *creation, GError **error)
{
    const char *path = creation->plan->def->backing_path;
    g_autoptr(volume_record_t) backing =
        path ? storage_records_get_by_path(creation->service->records, path, NULL) : NULL;

    if (!backing || backing->kind == VOLUME_KIND_DM_CRYPT)
        return true;
    creation->backing_key = service_secret_get(creation->service, backing, error);
    return creation->backing_key;
}

/* ---- steps that change something ---- */

/* From here on the secret is this volume's too: one that was just removed with the last volume
 * that had it is noticed. */
static bool
put_creating(struct creation *creation, GError **error)
{
    struct storage_service *service = creation->service;
    const struct volume_record *record = creation->plan->record;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->secrets_mutex);
    g_autoptr(secret_buf_t) again = NULL;

    if (creation->plan->key_from == SERVICE_KEY_NAMED ||
        creation->plan->key_from == SERVICE_KEY_SOURCE) {
        again = service_secret_get(service, record, error);
        if (!again)
            return false;
    }
    return storage_records_put(service->records, record, error);
}

static bool
put_secret(struct creation *creation, GError **error)
{
    const struct volume_record *record = creation->plan->record;
    const struct uuid *uuid = &record->encryption->secret_uuid;

    switch (creation->plan->key_from) {
    case SERVICE_KEY_GENERATED:
        return service_secret_put(creation->service, record, uuid, "generated", creation->key,
                                  error);
    case SERVICE_KEY_GIVEN:
        return service_secret_put(creation->service, record, uuid, "stored", creation->key, error);
    case SERVICE_KEY_NAMED:
    case SERVICE_KEY_SOURCE:
        break;
    }
    return true;
}

static struct backend_create_params
params_of(const struct creation *creation)
{
    const struct backend_create_params params = {
        .pool = creation->plan->pool,
        .def = creation->plan->def,
        .record = creation->plan->record,
        .key = creation->key,
        .key_is_generated = creation->plan->record->secret_is_generated,
        .preallocate_metadata = creation->request->flags & STORAGE_CREATE_PREALLOC_METADATA,
        .overwrites = creation->request->flags & STORAGE_CREATE_OVERWRITE,
        .backing_key = creation->backing_key,
    };

    return params;
}

static bool
make_volume(struct creation *creation, struct storage_progress *progress, GError **error)
{
    const struct backend *backend = backend_find(creation->plan->record->kind);
    const struct backend_create_params params = params_of(creation);
    struct backend_source source;

    if (!creation->plan->source)
        return backend->create(&params, NULL, progress, error);
    source = service_source_view(creation->plan->source);
    return backend->create(&params, &source, progress, error);
}

static bool
put_ready(struct creation *creation, GError **error)
{
    struct volume_record *record = creation->plan->record;
    g_autoptr(volume_record_t) ready = volume_record_copy(record);

    ready->state = VOLUME_STATE_READY;
    g_clear_pointer(&ready->temporary, g_free);
    if (!storage_records_put(creation->service->records, ready, error))
        return false;
    volume_record_free(record);
    creation->plan->record = g_steal_pointer(&ready);
    return true;
}

/* Whether the custodian may have stored the key though it was not heard to say so. */
static bool
may_be_stored(const GError *failure)
{
    return error_is(failure, ERROR_RPC) || error_is(failure, ERROR_SYSTEM) ||
           error_is(failure, ERROR_OPERATION_TIMEOUT);
}

/* A container that turned out to be somebody else's stays, and a secret that was not stored need
 * not be removed: its custodian may be locked or away. */
static void
undo(struct creation *creation, bool has_secret, const GError *failure)
{
    g_autoptr(volume_record_t) record = volume_record_copy(creation->plan->record);
    g_autoptr(GError) error = NULL;

    if (error_is(failure, ERROR_STORAGE_VOL_EXIST) || !has_secret)
        record->state = VOLUME_STATE_ADOPTING;
    if (!has_secret && !may_be_stored(failure)) {
        record->secret_is_generated = false;
        record->secret_is_stored = false;
    }
    if (!service_recover(creation->service, record, &error))
        log_warn("volume '%s' of pool '%s', whose creation failed, is not removed yet: %s",
                 record->name, record->pool, error->message);
}

static bool
change(struct creation *creation, struct storage_progress *progress, GError **error)
{
    g_autoptr(GError) failure = NULL;
    bool has_secret;

    if (!put_creating(creation, error))
        return false;
    has_secret = put_secret(creation, &failure);
    if (has_secret && make_volume(creation, progress, &failure) && put_ready(creation, &failure))
        return true;
    undo(creation, has_secret, failure);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

/* ---- the whole ---- */

static struct storage_volume *
report(struct creation *creation)
{
    const struct service_plan *plan = creation->plan;
    struct storage_volume *volume = service_volume_new(creation->service, plan->record);
    char uuid[UUID_TEXT_SIZE];

    if (plan->key_from == SERVICE_KEY_SOURCE) {
        volume->warnings = g_new0(char *, 2);
        volume->warnings[0] = g_strdup_printf(
            "volume '%s' has the same key as its source (secret %s): 'virtcrypt vol-rekey %s "
            "--pool %s' gives it one of its own",
            volume->name, uuid_format(&volume->secret, uuid), volume->name, volume->pool);
    }
    return volume;
}

static bool
check(struct creation *creation, GError **error)
{
    const struct backend_create_params params = params_of(creation);

    return backend_find(creation->plan->record->kind)->check(&params, error);
}

struct storage_volume *
storage_service_create(struct storage_service *service,
                       const struct storage_create_request *request,
                       struct storage_progress *progress, GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "being created",
    };
    g_auto(creation_t) creation = {.service = service, .request = request};
    g_autoptr(service_lock_t) lock = NULL;

    creation.plan = service_plan_new(service, request, error);
    if (!creation.plan)
        return NULL;
    lock = service_lock_take(service->locks, creation.plan->record->pool,
                             creation.plan->record->name, &wish, error);
    if (!lock || !check_is_new(&creation, error))
        return NULL;
    if (creation.plan->source && !service_source_open(creation.plan->source, error))
        return NULL;
    if (creation.plan->is_decrypted)
        return service_clear_create(service, creation.plan, progress, error);
    if (!take_key(&creation, error) || !take_backing_key(&creation, error) ||
        !check(&creation, error) || !change(&creation, progress, error))
        return NULL;
    return report(&creation);
}
