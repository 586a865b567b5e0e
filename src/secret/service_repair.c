/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: putting right what differs from the file that counts: older copies of guests are written
 * anew, and UUID.key goes where guests have copies, in one change for each secret. What can't be
 * written stays as it is, and is found again at the next start.
 */
#include "secret/sealed.h"
#include "secret/service_state.h"
#include "secret/store_change.h"
#include "util/error.h"
#include "util/log.h"

struct repair {
    struct secret_service *service;
    struct uuid uuid;
    GArray *stale;
    bool has_stale_key;
    GBytes *sealed; /* what the first of `stale` gets */
};

static void
clear_repair(void *element)
{
    struct repair *repair = element;

    g_clear_pointer(&repair->stale, owners_free);
    g_clear_pointer(&repair->sealed, g_bytes_unref);
}

GArray *
service_repairs_new(void)
{
    GArray *repairs = g_array_new(FALSE, TRUE, sizeof(struct repair));

    g_array_set_clear_func(repairs, clear_repair);
    return repairs;
}

void
service_repairs_add(GArray *repairs, const struct uuid *uuid, struct service_reading *reading)
{
    struct repair repair = {.uuid = *uuid, .has_stale_key = reading->has_stale_key};

    if (!reading->stale && !reading->has_stale_key)
        return;
    repair.stale = g_steal_pointer(&reading->stale);
    g_array_append_val(repairs, repair);
}

static void
log_failure(const struct repair *repair, const GError *error)
{
    char uuid[UUID_TEXT_SIZE];

    log_error("the older copies of the value of secret %s stay as they are: %s",
              uuid_format(&repair->uuid, uuid), error->message);
}

static void
on_committed(void *opaque, const GError *error)
{
    const struct repair *repair = opaque;
    struct secret *secret = registry_find(repair->service->registry, &repair->uuid);

    if (error) {
        log_failure(repair, error);
    } else if (!secret->value.owner && repair->sealed) {
        g_bytes_unref(secret->value.sealed);
        secret->value.sealed = g_bytes_ref(repair->sealed);
        secret->value.owner = secret_value_owner(owners_at(repair->stale, 0));
    }
}

static bool
seal_copies(struct repair *repair, const struct secret *secret, struct store_change *change,
            GError **error)
{
    const struct master_key *key = service_key_for(repair->service, secret->def, error);
    g_autoptr(secret_buf_t) plain = key ? service_open_value(repair->service, secret, error) : NULL;

    if (!plain)
        return false;
    for (guint i = 0; i < owners_count(repair->stale); i++) {
        const struct sealed_binding binding = {secret->def, owners_at(repair->stale, i)};
        g_autoptr(GBytes) sealed =
            sealed_format(key, &binding, secret->value.generation, plain, error);

        if (!sealed)
            return false;
        if (!repair->sealed)
            repair->sealed = g_bytes_ref(sealed);
        store_change_add_owner(change, binding.owner, STORE_WRITE, sealed);
    }
    return true;
}

void
service_repair(struct secret_service *service, GArray *repairs)
{
    for (guint i = 0; i < repairs->len; i++) {
        struct repair *repair = &g_array_index(repairs, struct repair, i);
        const struct secret *secret = registry_find(service->registry, &repair->uuid);
        struct store_change change = {.uuid = repair->uuid};
        g_autoptr(GError) error = NULL;

        repair->service = service;
        if (repair->has_stale_key)
            change.key_action = STORE_REMOVE;
        if (seal_copies(repair, secret, &change, &error)) {
            /* An older value may be in what is written over. */
            service_note_erasure(service);
            store_submit(service->store, &change, on_committed, repair);
        } else {
            log_failure(repair, error);
        }
        store_change_clear(&change);
    }
    store_drain(service->store);
}
