/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: moving what is sealed for one secret to the current key-encryption generation: its file,
 * with or without a definition, whether or not its value can be used, and what is in memory of it.
 * A value under a key that is not here needs no generation of ours, and is left alone.
 */
#include <errno.h>
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_state.h"
#include "util/error.h"

/* Whether it is under an older generation, which is *ret_key then. */
static bool
is_old(const struct secret_service *service, GBytes *sealed, const struct master_key **ret_key)
{
    gsize len = 0;
    const void *bytes = g_bytes_get_data(sealed, &len);
    const uint8_t *id = sealed_master_key_id(bytes, len);

    *ret_key = id ? generations_find(service->generations, id) : NULL;
    return *ret_key && *ret_key != generations_current(service->generations);
}

static GBytes *
rewrap(const struct secret_service *service, GBytes *sealed, const struct master_key *from,
       GError **error)
{
    gsize len = 0;
    const void *bytes = g_bytes_get_data(sealed, &len);

    return sealed_rewrap(from, generations_current(service->generations), bytes, len, error);
}

/* *ret_sealed gets what `sealed` is to be replaced by, or NULL: it stays. */
static bool
rewrap_old(const struct secret_service *service, GBytes *sealed, GBytes **ret_sealed,
           GError **error)
{
    const struct master_key *from;

    *ret_sealed = is_old(service, sealed, &from) ? rewrap(service, sealed, from, error) : NULL;
    return *ret_sealed || !is_old(service, sealed, &from);
}

/* What can't be told to be under another key may be under the older one. */
static bool
check_names_key(const struct uuid *uuid, GBytes *sealed, GError **error)
{
    char text[UUID_TEXT_SIZE];

    if (sealed_master_key_id(g_bytes_get_data(sealed, NULL), g_bytes_get_size(sealed)))
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "%s.key is no sealed value that this program can read; put a good copy of it back, "
              "or set the value again, or remove the file",
              uuid_format(uuid, text));
    return false;
}

static bool
rewrap_file(struct change *change, GBytes *sealed, GError **error)
{
    g_autoptr(GBytes) moved = NULL;

    if (!check_names_key(&change->uuid, sealed, error) ||
        !rewrap_old(change->service, sealed, &moved, error))
        return false;
    if (moved)
        service_write_key(change, moved);
    return true;
}

/* What is in memory may be another value than that of the file, or all that there is. */
static bool
rewrap_memory(struct change *change, const struct secret *secret, GBytes *file, GError **error)
{
    struct secret_value *value = &change->value;

    if (!secret || !secret->value.sealed || !service_keeps(change->service, secret->def))
        return true;
    if (change->disk.key && file && g_bytes_equal(secret->value.sealed, file))
        value->sealed = g_bytes_ref(change->disk.key);
    else if (!rewrap_old(change->service, secret->value.sealed, &value->sealed, error))
        return false;
    change->changes_value = value->sealed != NULL;
    return true;
}

bool
service_prepare_rewrap(struct change *change, GError **error)
{
    struct secret_service *service = change->service;
    const struct secret *secret = registry_find(service->registry, &change->uuid);
    g_autoptr(GError) failure = NULL;
    g_autoptr(GBytes) file = store_read_key(service->store, &change->uuid, &failure);

    if (!file && error_get_errno(failure) != ENOENT) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    return (!file || rewrap_file(change, file, error)) &&
           rewrap_memory(change, secret, file, error);
}

void
service_apply_rewrap(struct change *change)
{
    struct secret *secret = registry_find(change->service->registry, &change->uuid);

    if (change->changes_value) {
        g_bytes_unref(secret->value.sealed);
        secret->value.sealed = g_steal_pointer(&change->value.sealed);
    }
    if (change->changes_value || change->changes_disk)
        service_rotate_note_moved(change->service);
}
