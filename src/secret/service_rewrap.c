/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: moving what is sealed for one secret to the current key-encryption generation: its
 * files (UUID.key, or the copies of guests), with or without a definition, whether or not its value
 * can be used, and what is in memory of it; with a new data key, if that is wanted and the value
 * opens. A value under a key that is not here needs no generation of ours, and is left alone.
 */
#include <errno.h>
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_state.h"
#include "secret/store_change.h"
#include "util/error.h"

/* Of one change, in bytes of its journal record, which has less than one more copy besides. Bound
 * one by one, copies may be more than the journal holds. */
enum { RECORD_MAX = 512 * 1024 };

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

/* The same value of the same generation under a new data key; NULL if it does not open. */
static GBytes *
reseal(const struct secret_service *service, const struct sealed_binding *binding, GBytes *sealed,
       const struct master_key *from)
{
    gsize len = 0;
    const void *bytes = g_bytes_get_data(sealed, &len);
    g_autoptr(secret_buf_t) plain = sealed_parse(from, binding, bytes, len, NULL);
    uint64_t generation = 0;

    if (!plain || !sealed_parse_generation(bytes, len, &generation))
        return NULL;
    return sealed_format(generations_current(service->generations), binding, generation, plain,
                         NULL);
}

/* As rewrap_old, for a value that `owner` (or nobody) has of `secret`, which may be NULL. One that
 * does not open, without a definition perhaps, keeps its data key: it may open some day. */
static bool
move_old(struct secret_service *service, const struct secret *secret, const struct uuid *owner,
         GBytes *sealed, GBytes **ret_sealed, GError **error)
{
    const struct master_key *from;

    if (!generations_is_resealing(service->generations) || !is_old(service, sealed, &from))
        return rewrap_old(service, sealed, ret_sealed, error);
    if (secret) {
        const struct sealed_binding binding = {secret->def, owner};

        *ret_sealed = reseal(service, &binding, sealed, from);
        if (*ret_sealed)
            return true;
    }
    if (!rewrap_old(service, sealed, ret_sealed, error))
        return false;
    service_rotate_note_kept_key(service);
    return true;
}

/* A file of the value: UUID.key, or the copy of a guest. */
static char *
name_file(const struct uuid *uuid, const struct uuid *guest)
{
    char text[UUID_TEXT_SIZE];
    char folder[UUID_TEXT_SIZE];

    uuid_format(uuid, text);
    return guest ? g_strdup_printf("%s/%s.key", uuid_format(guest, folder), text)
                 : g_strdup_printf("%s.key", text);
}

/* What can't be told to be under another key may be under the older one. */
static bool
check_names_key(const struct uuid *uuid, const struct uuid *guest, GBytes *sealed, GError **error)
{
    g_autofree char *name = NULL;

    if (sealed_master_key_id(g_bytes_get_data(sealed, NULL), g_bytes_get_size(sealed)))
        return true;
    name = name_file(uuid, guest);
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "%s is no sealed value that this program can read; put a good copy of it back, or "
              "set the value again, or remove the file",
              name);
    return false;
}

/* What is in memory is that of the file usually, and is to stay so. */
static void
follow_file(struct change *change, const struct secret *secret, GBytes *file, GBytes *moved)
{
    struct secret_value *value = &change->value;

    if (value->sealed || !secret || !secret->value.sealed ||
        !g_bytes_equal(secret->value.sealed, file))
        return;
    value->sealed = g_bytes_ref(moved);
    change->changes_value = true;
}

/* `guest`: whose copy; NULL: UUID.key. */
static bool
rewrap_file(struct change *change, const struct secret *secret, const struct uuid *guest,
            GError **error)
{
    struct store *store = change->service->store;
    g_autoptr(GError) failure = NULL;
    g_autoptr(GBytes) file = guest ? store_read_owned_key(store, &change->uuid, guest, &failure)
                                   : store_read_key(store, &change->uuid, &failure);
    g_autoptr(GBytes) moved = NULL;

    if (!file && error_get_errno(failure) == ENOENT)
        return true;
    if (!file) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (!check_names_key(&change->uuid, guest, file, error) ||
        !move_old(change->service, secret, guest, file, &moved, error))
        return false;
    if (!moved)
        return true;
    change->changes_disk = true;
    if (guest)
        store_change_add_owner(&change->disk, guest, STORE_WRITE, moved);
    else
        service_write_key(change, moved);
    follow_file(change, secret, file, moved);
    return true;
}

/* What is in memory may be another value than that of any file, or all that there is. */
static bool
rewrap_memory(struct change *change, const struct secret *secret, GError **error)
{
    struct secret_value *value = &change->value;

    if (value->sealed || !secret || !secret->value.sealed ||
        !service_keeps(change->service, secret->def))
        return true;
    if (!move_old(change->service, secret, secret->value.owner, secret->value.sealed,
                  &value->sealed, error))
        return false;
    change->changes_value = value->sealed != NULL;
    return true;
}

/* Guests that may have a copy: those that were found, and those that own the secret by now. */
static GArray *
list_guests(const struct change *change, const struct secret *secret)
{
    GArray *guests = owners_copy(service_rotate_find_guests(change->service, &change->uuid));

    for (guint i = 0; secret && i < owners_count(secret->owners); i++)
        owners_add(&guests, owners_at(secret->owners, i));
    return guests;
}

static bool
is_full(const struct change *change)
{
    return store_change_record_size(&change->disk) > RECORD_MAX ||
           store_change_owner_count(&change->disk) == STORE_OWNERS_MAX;
}

bool
service_prepare_rewrap(struct change *change, GError **error)
{
    const struct secret *secret = registry_find(change->service->registry, &change->uuid);
    g_autoptr(owners_t) guests = list_guests(change, secret);

    if (!rewrap_file(change, secret, NULL, error))
        return false;
    for (guint i = 0; i < owners_count(guests); i++) {
        /* Something was moved, so that another pass follows, which finds the others. */
        if (is_full(change))
            return true;
        if (!rewrap_file(change, secret, owners_at(guests, i), error))
            return false;
    }
    return rewrap_memory(change, secret, error);
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

bool
service_rewrap_kept(void *opaque, GBytes *content, GBytes **ret_content, GError **error)
{
    const struct secret_service *service = opaque;
    g_autoptr(GError) failure = NULL;

    if (rewrap_old(service, content, ret_content, &failure))
        return true;
    /* It was kept because it is damaged, perhaps, and opens with nothing. */
    if (error_is(failure, ERROR_INVALID_SECRET))
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}
