/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is asked of the service about guests that own secrets, and what was erased. The work
 * is service_owner.c's.
 */
#include "secret/service_state.h"
#include "util/error.h"

enum { PAGE = 1000 }; /* of secrets that are looked at, at a time */

/* A value is sealed for the uuid of zeros when it belongs to no guest. */
static bool
check_guest(const struct uuid *guest, GError **error)
{
    static const struct uuid nobody;
    char text[UUID_TEXT_SIZE];

    if (!uuid_equal(guest, &nobody))
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "no guest has the uuid %s",
              uuid_format(guest, text));
    return false;
}

static bool
check_reason(const char *reason, GError **error)
{
    if (*reason)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "the audit needs a reason");
    return false;
}

void
secret_service_bind(struct secret_service *service, const struct uuid *uuid,
                    const struct uuid *guest, secret_done_func done, void *opaque)
{
    g_autoptr(GError) error = NULL;
    struct change *change;

    if (!check_guest(guest, &error)) {
        done(opaque, NULL, error);
        return;
    }
    change = service_new_change(service, CHANGE_BIND, uuid, done, opaque);
    change->has_guest = true;
    change->guest = *guest;
    service_submit(change);
}

void
secret_service_unbind(struct secret_service *service, const struct uuid *uuid,
                      const struct uuid *guest, const char *reason, secret_done_func done,
                      void *opaque)
{
    g_autoptr(GError) error = NULL;
    struct change *change;

    if (!check_reason(reason, &error)) {
        done(opaque, NULL, error);
        return;
    }
    change = service_new_change(service, CHANGE_UNBIND, uuid, done, opaque);
    change->has_guest = true;
    change->guest = *guest;
    change->reason = g_strdup(reason);
    service_submit(change);
}

void
secret_service_erase(struct secret_service *service, const struct uuid *uuid,
                     const struct uuid *guest, const char *reason, secret_done_func done,
                     void *opaque)
{
    g_autoptr(GError) error = NULL;
    struct change *change;

    if (!check_reason(reason, &error)) {
        done(opaque, NULL, error);
        return;
    }
    change = service_new_change(service, CHANGE_UNDEFINE, uuid, done, opaque);
    change->is_erase = true;
    change->has_guest = guest != NULL;
    if (guest)
        change->guest = *guest;
    change->reason = g_strdup(reason);
    service_submit(change);
}

static GArray *
take_owners(const struct secret_put *put, GError **error)
{
    g_autoptr(owners_t) owners = NULL;

    if (put->owner_count > STORE_OWNERS_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "%zu guests are to own a secret, more than the maximum of %d", put->owner_count,
                  STORE_OWNERS_MAX);
        return NULL;
    }
    for (size_t i = 0; i < put->owner_count; i++) {
        if (!check_guest(&put->owners[i], error))
            return NULL;
        owners_add(&owners, &put->owners[i]);
    }
    return g_steal_pointer(&owners);
}

void
secret_service_put(struct secret_service *service, const struct secret_put *put,
                   secret_done_func done, void *opaque)
{
    g_autoptr(secret_def_t) def = put->def;
    g_autoptr(secret_buf_t) value = put->value;
    g_autoptr(GError) error = NULL;
    g_autoptr(owners_t) owners = take_owners(put, &error);
    struct change *change;

    if (error || !service_check_value(value, &error)) {
        done(opaque, NULL, error);
        return;
    }
    change = service_new_change(service, CHANGE_PUT, &def->uuid, done, opaque);
    change->def = g_steal_pointer(&def);
    change->wanted = g_steal_pointer(&value);
    change->owners = g_steal_pointer(&owners);
    service_submit(change);
}

/* Adds the bindings of `secret`, from the owner of that index. */
static void
add_bindings(GArray *bindings, const struct secret *secret, guint from, size_t max)
{
    for (guint i = from; i < owners_count(secret->owners) && bindings->len < max; i++) {
        const struct secret_binding binding = {secret->def->uuid, *owners_at(secret->owners, i)};

        g_array_append_val(bindings, binding);
    }
}

GArray *
secret_service_list_bindings(const struct secret_service *service,
                             const struct secret_binding *after, size_t max)
{
    GArray *bindings = g_array_new(FALSE, FALSE, sizeof(struct secret_binding));
    const struct secret *secret = after ? registry_find(service->registry, &after->secret) : NULL;
    const struct uuid *from = after ? &after->secret : NULL;
    struct uuid last;
    guint seen;

    if (secret)
        add_bindings(bindings, secret, owners_count_until(secret->owners, &after->guest), max);
    do {
        g_autoptr(GPtrArray) page = registry_page(service->registry, from, PAGE);

        seen = page->len;
        for (guint i = 0; i < seen; i++) {
            secret = g_ptr_array_index(page, i);
            add_bindings(bindings, secret, 0, max);
            last = secret->def->uuid;
        }
        from = &last;
    } while (seen == PAGE && bindings->len < max);
    return bindings;
}

GPtrArray *
secret_service_read_audit(const struct secret_service *service, uint64_t from, size_t max,
                          bool *ret_more, GError **error)
{
    if (service->store)
        return store_read_audit(service->store, from, max, ret_more, error);
    *ret_more = false;
    return g_ptr_array_new_with_free_func(g_free);
}
