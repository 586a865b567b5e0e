/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the registration of a LUKS volume that was made by others. Its key is proved by opening it;
 * nothing on it is changed.
 */
#include <string.h>

#include "storage/service_source.h"
#include "util/error.h"
#include "util/log.h"

struct adoption {
    struct storage_service *service;
    const struct storage_create_request *request;
    struct pool_def *pool;
    struct volume_def *def;
    struct volume_record *record;
    struct secret_buf *key;
    struct service_sniff sniff;
};

static void
adoption_clear(struct adoption *adoption)
{
    pool_def_free(adoption->pool);
    volume_def_free(adoption->def);
    volume_record_free(adoption->record);
    secret_buf_free(adoption->key);
    service_sniff_clear(&adoption->sniff);
}
typedef struct adoption adoption_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(adoption_t, adoption_clear)

static bool
refuse(struct adoption *adoption, const char *text, GError **error)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "volume '%s' (%s) can't be adopted: %s", adoption->record->name,
              adoption->record->device, text);
    return false;
}

static bool
read_request(struct adoption *adoption, GError **error)
{
    const struct storage_create_request *request = adoption->request;
    struct volume_record *record;

    adoption->pool = storage_pools_get(adoption->service->pools, request->pool, error);
    if (!adoption->pool)
        return false;
    adoption->def = volume_def_parse(request->xml, strlen(request->xml), error);
    if (!adoption->def)
        return false;
    record = adoption->record = g_new0(struct volume_record, 1);
    record->pool = g_strdup(request->pool);
    record->name = g_strdup(adoption->def->name);
    record->state = VOLUME_STATE_ADOPTING;
    if (adoption->def->path)
        record->device = g_strdup(adoption->def->path);
    else if (adoption->pool->target_path)
        record->device = g_build_filename(adoption->pool->target_path, record->name, NULL);
    if (!record->device || record->device[0] != '/') {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "volume '%s' has no path: say <target><path>/...</path></target>", record->name);
        return false;
    }
    return true;
}

static bool
check_is_new(struct adoption *adoption, GError **error)
{
    struct storage_records *records = adoption->service->records;
    const struct volume_record *record = adoption->record;
    g_autoptr(GError) failure = NULL;
    g_autoptr(volume_record_t) known =
        storage_records_get(records, record->pool, record->name, &failure);
    g_autoptr(volume_record_t) other = storage_records_get_by_path(records, record->device, NULL);

    if (known && !(known->state == VOLUME_STATE_ADOPTING &&
                   service_recover(adoption->service, known, NULL))) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_STORAGE_VOL_EXIST, "'%s'", record->name);
        return false;
    }
    if (failure && !error_is(failure, ERROR_NO_STORAGE_VOL)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (!other || known)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
              "%s is volume '%s' of pool '%s' already", record->device, other->name, other->pool);
    return false;
}

/* ---- of which kind it is ---- */

static bool
choose_plain(struct adoption *adoption, GError **error)
{
    (void)error;
    adoption->record->kind = VOLUME_KIND_DM_CRYPT;
    return true;
}

/* By what is found; the XML can only say how a LUKS1 container is opened. */
static bool
choose_kind(struct adoption *adoption, GError **error)
{
    const struct service_sniff *sniff = &adoption->sniff;
    struct volume_record *record = adoption->record;
    struct encryption *encryption = record->encryption;
    bool is_dm_crypt = encryption_is_dm_crypt(encryption);

    if (is_dm_crypt && encryption->format == ENCRYPTION_FORMAT_PLAIN)
        return choose_plain(adoption, error);
    if (!sniff->is_encrypted && !encryption->dmcrypt.header_path)
        return refuse(adoption, "it is not encrypted", error);
    if (strcmp(sniff->format, "qcow2") == 0) {
        if (is_dm_crypt)
            return refuse(adoption, "a qcow2 image is opened by QEMU; leave out engine='dm-crypt'",
                          error);
        record->kind = VOLUME_KIND_QCOW2;
        encryption->format = ENCRYPTION_FORMAT_LUKS;
        return true;
    }
    record->kind = is_dm_crypt || sniff->luks == LUKS_2 ? VOLUME_KIND_DM_CRYPT : VOLUME_KIND_RAW;
    if (record->kind == VOLUME_KIND_DM_CRYPT)
        encryption->engine = ENCRYPTION_ENGINE_DM_CRYPT;
    if (sniff->luks != LUKS_NONE)
        encryption->format =
            sniff->luks == LUKS_2 ? ENCRYPTION_FORMAT_LUKS2 : ENCRYPTION_FORMAT_LUKS;
    return true;
}

static bool
plan(struct adoption *adoption, GError **error)
{
    struct volume_record *record = adoption->record;
    g_autofree char *parent = g_path_get_dirname(record->device);

    if (!service_sniff(record->device, &adoption->sniff, error))
        return false;
    record->encryption = adoption->def->encryption ? encryption_copy(adoption->def->encryption)
                                                   : g_new0(struct encryption, 1);
    if (!choose_kind(adoption, error))
        return false;
    record->path = record->kind == VOLUME_KIND_DM_CRYPT
                       ? mapping_path(adoption->service->device_dir, record->pool, record->name)
                       : g_strdup(record->device);
    record->is_made = g_strcmp0(parent, adoption->pool->target_path) == 0;
    if (record->kind == VOLUME_KIND_DM_CRYPT)
        record->capacity = adoption->def->capacity;
    return true;
}

/* ---- its key ---- */

static bool
take_key(struct adoption *adoption, GError **error)
{
    struct encryption *encryption = adoption->record->encryption;
    const struct secret_buf *given = adoption->request->key;
    const struct storage_keys *keys = &adoption->service->keys;

    if (given && encryption->secret_by != ENCRYPTION_SECRET_NONE)
        return refuse(adoption, "there are both a key and a secret: leave out one", error);
    if (!given && encryption->secret_by == ENCRYPTION_SECRET_NONE)
        return refuse(adoption, "there is neither a key nor a <secret> that opens it", error);
    if (given) {
        encryption->secret_by = ENCRYPTION_SECRET_UUID;
        adoption->record->secret_is_stored = true;
        adoption->key = secret_buf_new_from(secret_buf_bytes(given), secret_buf_len(given), error);
        return adoption->key && uuid_generate_random(&encryption->secret_uuid, error);
    }
    if (encryption->secret_by == ENCRYPTION_SECRET_USAGE) {
        if (!keys->find_by_usage(keys->opaque, encryption->secret_usage, &encryption->secret_uuid,
                                 error))
            return false;
        encryption->secret_by = ENCRYPTION_SECRET_UUID;
        g_clear_pointer(&encryption->secret_usage, g_free);
    }
    adoption->key = service_secret_get(adoption->service, adoption->record, error);
    return adoption->key;
}

static bool
put_secret(struct adoption *adoption, GError **error)
{
    const struct volume_record *record = adoption->record;

    return !record->secret_is_stored ||
           service_secret_put(adoption->service, record, &record->encryption->secret_uuid, "stored",
                              adoption->key, error);
}

static bool
put_ready(struct adoption *adoption, GError **error)
{
    g_autoptr(volume_record_t) ready = volume_record_copy(adoption->record);

    ready->state = VOLUME_STATE_READY;
    if (!storage_records_put(adoption->service->records, ready, error))
        return false;
    adoption->record->state = VOLUME_STATE_READY;
    return true;
}

static bool
register_volume(struct adoption *adoption, GError **error)
{
    struct storage_service *service = adoption->service;
    g_autoptr(GError) failure = NULL;
    g_autoptr(GError) undoing = NULL;

    if (!storage_records_put(service->records, adoption->record, error))
        return false;
    if (put_secret(adoption, &failure) && put_ready(adoption, &failure))
        return true;
    if (!service_recover(service, adoption->record, &undoing))
        log_warn("the adoption of volume '%s' of pool '%s' is undone later: %s",
                 adoption->record->name, adoption->record->pool, undoing->message);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

struct storage_volume *
storage_service_adopt(struct storage_service *service, const struct storage_create_request *request,
                      GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "being adopted",
    };
    g_auto(adoption_t) adoption = {.service = service, .request = request};
    g_autoptr(service_lock_t) lock = NULL;

    if (!read_request(&adoption, error))
        return NULL;
    lock = service_lock_take(service->locks, adoption.record->pool, adoption.record->name, &wish,
                             error);
    if (!lock || !check_is_new(&adoption, error) || !plan(&adoption, error) ||
        !take_key(&adoption, error) ||
        !backend_find(adoption.record->kind)->check_key(adoption.record, adoption.key, error) ||
        !register_volume(&adoption, error))
        return NULL;
    return service_volume_new(service, adoption.record);
}
