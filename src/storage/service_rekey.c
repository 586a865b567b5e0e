/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a new key in the place of the present one. The volume's keyslots are changed, its volume
 * key is not. At every instant the key that the record names opens the volume:
 *
 *   record   encryption   other       what a start does
 *   READY    old          -
 *   REKEYING old          new         takes the new keyslot and secret away
 *   REKEYING new          old         takes the old keyslot, and the secret if it was ours, away
 *   READY    new          -           (the third line's record is the commit point)
 */
#include "storage/service_state.h"
#include "util/error.h"
#include "util/log.h"

static bool
begin(struct storage_service *service, struct volume_record *record, GError **error)
{
    record->state = VOLUME_STATE_REKEYING;
    record->has_other_secret = true;
    record->other_secret_is_made = true;
    return uuid_generate_random(&record->other_secret, error) &&
           storage_records_put(service->records, record, error);
}

static bool
add_keyslot(struct storage_service *service, const struct volume_record *record,
            const struct secret_buf *old_key, GError **error)
{
    const struct backend *backend = backend_find(record->kind);
    g_autoptr(secret_buf_t) key = storage_service_generate_key(error);

    return key &&
           service_secret_put(service, record, &record->other_secret, "generated", key, error) &&
           backend->add_key(record, old_key, key, true, error) &&
           backend->check_key(record, key, error);
}

/* The commit point: the secrets change places. */
static bool
commit(struct storage_service *service, struct volume_record *record, GError **error)
{
    service_swap_secrets(record);
    return storage_records_put(service->records, record, error);
}

static struct storage_volume *
report(struct storage_service *service, const struct volume_record *record, const struct uuid *old)
{
    g_autoptr(volume_record_t) ready =
        storage_records_get(service->records, record->pool, record->name, NULL);
    struct storage_volume *volume = service_volume_new(service, ready ? ready : record);
    char old_text[UUID_TEXT_SIZE];
    char new_text[UUID_TEXT_SIZE];

    if (volume->kind == VOLUME_KIND_DM_CRYPT)
        return volume;
    volume->warnings = g_new0(char *, 2);
    volume->warnings[0] = g_strdup_printf(
        "a guest whose disk is volume '%s' must name secret %s in <encryption> from now on, in the "
        "place of %s",
        volume->name, uuid_format(&volume->secret, new_text), uuid_format(old, old_text));
    return volume;
}

struct storage_volume *
storage_service_rekey(struct storage_service *service, const char *pool, const char *name,
                      GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_EXCLUSIVE,
        .doing = "being re-keyed",
    };
    g_autoptr(service_lock_t) lock = NULL;
    g_autoptr(volume_record_t) record =
        service_take_volume(service, pool, name, &wish, &lock, error);
    g_autoptr(secret_buf_t) key = NULL;
    g_autoptr(GError) failure = NULL;
    struct uuid old;

    if (!record)
        return NULL;
    if (record->encryption->format == ENCRYPTION_FORMAT_PLAIN) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_UNSUPPORTED,
                  "volume '%s' can't be re-keyed: it has format='plain', whose key is that of the "
                  "data; copy it into a new volume",
                  name);
        return NULL;
    }
    key = service_secret_get(service, record, error);
    if (!key || !backend_find(record->kind)->check_key(record, key, error))
        return NULL;
    old = record->encryption->secret_uuid;
    if (!begin(service, record, error))
        return NULL;
    if (!add_keyslot(service, record, key, &failure) || !commit(service, record, &failure)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        g_clear_pointer(&record, volume_record_free);
        record = storage_records_get(service->records, pool, name, NULL);
        if (record && !service_recover(service, record, &failure))
            log_warn("the re-keying of volume '%s' of pool '%s' is undone later: %s", name, pool,
                     failure->message);
        return NULL;
    }
    if (!service_finish_rekey(service, record, &failure))
        log_warn("the old key of volume '%s' of pool '%s' is removed later: %s", name, pool,
                 failure->message);
    return report(service, record, &old);
}
