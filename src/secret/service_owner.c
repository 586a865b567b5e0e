/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: guests that own secrets. The value of an owned secret is on disk once for each guest,
 * sealed for it, and nowhere else; the guests that have a copy are the owners, and no file says it
 * besides. So whatever changes the value or the owners is one store change with all the copies that
 * it touches.
 */
#include <errno.h>

#include "secret/sealed.h"
#include "secret/service_index.h"
#include "secret/service_state.h"
#include "secret/store_change.h"
#include "util/error.h"

static GBytes *
seal(const struct change *change, const struct sealed_binding *binding, uint64_t generation,
     const struct secret_buf *plain, GError **error)
{
    const struct master_key *key = service_key_for(change->service, binding->def, error);

    return key ? sealed_format(key, binding, generation, plain, error) : NULL;
}

/* What is known of the value from then on. */
static void
set_value(struct change *change, GBytes *sealed, const struct uuid *owner, uint64_t generation)
{
    struct secret_value value = {
        .sealed = g_bytes_ref(sealed),
        .owner = secret_value_owner(owner),
        .generation = generation,
        .is_stored = change->changes_disk,
    };

    change->changes_value = true;
    secret_value_replace(&change->value, &value);
}

static void
write_copy(struct change *change, const struct uuid *guest, GBytes *sealed)
{
    change->changes_disk = true;
    store_change_add_owner(&change->disk, guest, STORE_WRITE, sealed);
}

static bool
write_unowned(struct change *change, const struct secret_def *def, uint64_t generation,
              const struct secret_buf *plain, GError **error)
{
    const struct sealed_binding binding = {.def = def};
    g_autoptr(GBytes) sealed = seal(change, &binding, generation, plain, error);

    if (!sealed)
        return false;
    if (service_keeps(change->service, def))
        service_write_key(change, sealed);
    set_value(change, sealed, NULL, generation);
    return true;
}

bool
service_write_value(struct change *change, const struct secret_def *def, const GArray *owners,
                    uint64_t generation, const struct secret_buf *plain, GError **error)
{
    /* What was in memory alone may be older than what was stored before. */
    generation = MAX(generation, service_index_floor(change->service, &change->uuid));
    if (owners_count(owners) == 0)
        return write_unowned(change, def, generation, plain, error);
    for (guint i = 0; i < owners->len; i++) {
        const struct sealed_binding binding = {def, owners_at(owners, i)};
        g_autoptr(GBytes) sealed = seal(change, &binding, generation, plain, error);

        if (!sealed)
            return false;
        write_copy(change, binding.owner, sealed);
        if (i == 0)
            set_value(change, sealed, binding.owner, generation);
    }
    change->disk.key_action = STORE_REMOVE;
    return true;
}

void
service_remove_copies(struct change *change, const GArray *owners)
{
    for (guint i = 0; i < owners_count(owners); i++)
        store_change_add_owner(&change->disk, owners_at(owners, i), STORE_REMOVE, NULL);
}

/* In a UUID.key that is not known, too. */
static bool
has_left_value(const struct change *change, const GArray *strays)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) key = store_read_key(change->service->store, &change->uuid, &error);

    return owners_count(strays) > 0 || key || error_get_errno(error) != ENOENT;
}

void
service_remove_strays(struct change *change, const GArray *owners)
{
    const GArray *strays = g_hash_table_lookup(change->service->strays, &change->uuid);

    if (has_left_value(change, strays))
        service_note_erasure(change->service);
    for (guint i = 0; i < owners_count(strays); i++) {
        const struct uuid *guest = owners_at(strays, i);

        if (!owners_has(owners, guest))
            store_change_add_owner(&change->disk, guest, STORE_REMOVE, NULL);
    }
}

/* ---- bind, unbind ---- */

/* The secret, if guests can own it. */
static const struct secret *
find_bindable(const struct change *change, GError **error)
{
    const struct secret *secret = registry_find(change->service->registry, &change->uuid);
    char uuid[UUID_TEXT_SIZE];

    uuid_format(&change->uuid, uuid);
    if (!secret)
        service_set_not_found(&change->uuid, error);
    else if (!service_keeps(change->service, secret->def))
        error_set(
            error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
            "secret %s can't belong to a guest, since it is ephemeral: its value is in memory "
            "only",
            uuid);
    else if (!service_has_value(secret))
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
                  "secret '%s' does not have a value, so that no guest can own it", uuid);
    else
        return secret;
    return NULL;
}

static bool
check_room(const struct change *change, const struct secret *secret, GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    if (owners_count(secret->owners) < STORE_OWNERS_MAX)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "secret %s belongs to %d guests already, which is the maximum",
              uuid_format(&change->uuid, uuid), STORE_OWNERS_MAX);
    return false;
}

static bool
note(struct change *change, const struct secret *secret, const char *name, const char *reason,
     GError **error)
{
    struct audit_event event = {
        .event = name,
        .guests = &change->guest,
        .guest_count = 1,
        .reason = reason,
    };

    return service_add_audit(change, secret, &event, error);
}

bool
service_prepare_bind(struct change *change, GError **error)
{
    const struct secret *secret = find_bindable(change, error);
    g_autoptr(secret_buf_t) plain = NULL;
    g_autoptr(GBytes) sealed = NULL;

    if (!secret)
        return false;
    if (owners_has(secret->owners, &change->guest))
        return true;
    if (!check_room(change, secret, error))
        return false;
    plain = service_open_value(change->service, secret, error);
    if (!plain)
        return false;
    sealed = seal(change, &(struct sealed_binding){secret->def, &change->guest},
                  secret->value.generation, plain, error);
    if (!sealed)
        return false;
    write_copy(change, &change->guest, sealed);
    if (!secret->owners) {
        change->disk.key_action = STORE_REMOVE;
        set_value(change, sealed, &change->guest, secret->value.generation);
    }
    change->owners = owners_copy(secret->owners);
    owners_add(&change->owners, &change->guest);
    change->changes_owners = true;
    return note(change, secret, "bind", "bound to the guest", error);
}

/* The copy that goes may be the only one that can be mended, or that a good master key opens. */
static struct secret_buf *
open_before_unbind(const struct change *change, const struct secret *secret, GError **error)
{
    struct secret_buf *plain = service_open_value(change->service, secret, error);
    char guest[UUID_TEXT_SIZE];

    if (!plain)
        g_prefix_error(error,
                       "the copy of guest %s is not taken away while the value can't be "
                       "used: ",
                       uuid_format(&change->guest, guest));
    return plain;
}

bool
service_prepare_unbind(struct change *change, GError **error)
{
    const struct secret *secret = registry_find(change->service->registry, &change->uuid);
    g_autoptr(secret_buf_t) plain = NULL;
    g_autoptr(owners_t) one = NULL;

    if (!secret) {
        service_set_not_found(&change->uuid, error);
        return false;
    }
    if (!owners_has(secret->owners, &change->guest))
        return true;
    plain = open_before_unbind(change, secret, error);
    if (!plain)
        return false;
    change->owners = owners_copy(secret->owners);
    owners_remove(&change->owners, &change->guest);
    change->changes_owners = true;
    /* What stays is written anew, so that a file that became bad since it was read takes no value
     * away. */
    if (change->owners)
        owners_add(&one, owners_at(change->owners, 0));
    if (!service_write_value(change, secret->def, one, secret->value.generation, plain, error))
        return false;
    store_change_add_owner(&change->disk, &change->guest, STORE_REMOVE, NULL);
    service_note_erasure(change->service);
    return note(change, secret, "unbind", change->reason, error);
}

void
service_take_owners(struct change *change, struct secret *secret)
{
    owners_free(secret->owners);
    secret->owners = g_steal_pointer(&change->owners);
    g_hash_table_remove(change->service->strays, &change->uuid);
}

void
service_apply_owners(struct change *change)
{
    struct secret *secret = registry_find(change->service->registry, &change->uuid);

    if (change->changes_owners)
        service_take_owners(change, secret);
    if (change->changes_value)
        secret_value_replace(&secret->value, &change->value);
    change->def = secret_def_copy(secret->def);
}

/* ---- put ---- */

static bool
check_new(const struct change *change, GError **error)
{
    const struct secret_service *service = change->service;
    char uuid[UUID_TEXT_SIZE];

    uuid_format(&change->uuid, uuid);
    if (registry_find(service->registry, &change->uuid))
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "there is a secret with the uuid %s already", uuid);
    else if (change->owners && !service_keeps(service, change->def))
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "secret %s can't belong to a guest, since it is ephemeral", uuid);
    else
        return service_check_definition(service, NULL, change->def, error);
    return false;
}

bool
service_prepare_put(struct change *change, GError **error)
{
    if (!check_new(change, error) ||
        !service_write_value(change, change->def, change->owners,
                             service_last_generation(change->service, &change->uuid, NULL) + 1,
                             change->wanted, error))
        return false;
    if (!service_keeps(change->service, change->def))
        return true;
    change->disk.xml_action = STORE_WRITE;
    change->disk.xml = service_format_xml(change->def);
    service_remove_strays(change, change->owners);
    return true;
}

void
service_apply_put(struct change *change)
{
    struct secret *secret = registry_add(change->service->registry, secret_def_copy(change->def));

    secret_value_replace(&secret->value, &change->value);
    service_take_owners(change, secret);
    if (change->changes_disk)
        service_wipe_clear(change);
}
