/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the keys of volumes: generated, fetched for one operation, stored and removed.
 */
#include <stdio.h>

#include "storage/service_state.h"
#include "util/base64.h"
#include "util/error.h"
#include "util/log.h"

enum {
    KEY_SIZE = 32,
    KEY_TEXT_LEN = 43, /* base64 without padding */
    USAGE_PART_LEN = 8,
};

struct secret_buf *
storage_service_generate_key(GError **error)
{
    g_autoptr(secret_buf_t) bytes = secret_buf_new_random(KEY_SIZE, error);
    struct secret_buf *text = bytes ? base64_encode_secret(bytes, error) : NULL;
    uint8_t *letters;

    if (!text)
        return NULL;
    secret_buf_truncate(text, KEY_TEXT_LEN);
    letters = secret_buf_writable(text);
    for (unsigned int i = 0; i < KEY_TEXT_LEN; i++) {
        letters[i] = (uint8_t)(letters[i] + (letters[i] == '+') * ('-' - '+') +
                               (letters[i] == '/') * ('_' - '/'));
    }
    return text;
}

struct secret_buf *
service_secret_get(struct storage_service *service, const struct volume_record *record,
                   GError **error)
{
    struct secret_buf *key =
        service->keys.get(service->keys.opaque, &record->encryption->secret_uuid, error);

    if (!key)
        g_prefix_error(error, "can't get the key of volume '%s' of pool '%s': ", record->name,
                       record->pool);
    return key;
}

/* A usage id belongs to one secret, and the volume's path may be that of an older secret. */
static char *
find_free_usage(struct storage_service *service, const char *path, const struct uuid *uuid,
                GError **error)
{
    g_autoptr(GError) failure = NULL;
    char text[UUID_TEXT_SIZE];
    struct uuid known;

    if (service->keys.find_by_usage(service->keys.opaque, path, &known, &failure))
        return g_strdup_printf("%s#%.*s", path, USAGE_PART_LEN, uuid_format(uuid, text));
    if (error_is(failure, ERROR_NO_SECRET))
        return g_strdup(path);
    g_propagate_error(error, g_steal_pointer(&failure));
    return NULL;
}

bool
service_secret_put(struct storage_service *service, const struct volume_record *record,
                   const struct uuid *uuid, const char *how, const struct secret_buf *key,
                   GError **error)
{
    g_autofree char *description = g_strdup_printf(
        "key of volume '%s' of pool '%s', %s by virtcrypt", record->name, record->pool, how);
    g_autofree char *usage = find_free_usage(service, record->path, uuid, error);

    if (usage && service->keys.put(service->keys.opaque, uuid, usage, description, key, error))
        return true;
    g_prefix_error(error, "can't store the key of volume '%s' of pool '%s': ", record->name,
                   record->pool);
    return false;
}

bool
service_secret_drop(struct storage_service *service, const struct volume_record *record,
                    const struct uuid *uuid, const char *done, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->secrets_mutex);
    g_autofree char *reason =
        g_strdup_printf("volume '%s' of pool '%s' was %s", record->name, record->pool, done);
    char text[UUID_TEXT_SIZE];

    if (storage_records_count_secret(service->records, uuid, record) > 0 ||
        (service->is_needed_elsewhere &&
         service->is_needed_elsewhere(service->opaque, uuid, record->path))) {
        log_info("secret %s of volume '%s' of pool '%s' stays: something else uses it, or may",
                 uuid_format(uuid, text), record->name, record->pool);
        return true;
    }
    if (service->keys.remove(service->keys.opaque, uuid, reason, error))
        return true;
    g_prefix_error(error, "can't remove the key of volume '%s' of pool '%s': ", record->name,
                   record->pool);
    return false;
}
