/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see made_keys.h.
 */
#include "guest/made_keys.h"

#include "util/error.h"
#include "util/log.h"

struct settling {
    struct guest_service *service;
    struct guest_record *record;
    const struct guest_settlement *settlement;
    GArray *bindings; /* of struct guest_binding */
};

static bool
is_owned(const struct settling *settling, const struct uuid *secret)
{
    for (guint i = 0; i < settling->bindings->len; i++) {
        const struct guest_binding *binding =
            &g_array_index(settling->bindings, struct guest_binding, i);

        if (uuid_equal(&binding->secret, secret) &&
            uuid_equal(&binding->guest, &settling->record->uuid))
            return true;
    }
    return false;
}

static bool
has_other_owner(const struct settling *settling, const struct uuid *secret)
{
    for (guint i = 0; i < settling->bindings->len; i++) {
        const struct guest_binding *binding =
            &g_array_index(settling->bindings, struct guest_binding, i);

        if (uuid_equal(&binding->secret, secret) &&
            !uuid_equal(&binding->guest, &settling->record->uuid))
            return true;
    }
    return false;
}

static bool
is_kept(const struct settling *settling, const struct uuid *secret)
{
    const GArray *named = settling->settlement->named;

    if (settling->settlement->keep != GUEST_KEEP_NAMED)
        return settling->settlement->keep == GUEST_KEEP_ALL;
    for (guint i = 0; i < named->len; i++) {
        if (uuid_equal(&g_array_index(named, struct uuid, i), secret))
            return true;
    }
    return false;
}

/* ---- one key; *ret_is_done: it is out of the record ---- */

/* One that is gone meanwhile is no key of the guest's. But of what came from another host the
 * record says that it did: that one must not be told that it is here. */
static bool
keep(struct settling *settling, struct guest_key *key, GError **error)
{
    const struct guest_custodian *custodian = &settling->service->custodian;
    g_autoptr(GArray) bindings = g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
    const struct guest_binding binding = {key->secret, settling->record->uuid};
    g_autoptr(GPtrArray) errors = NULL;
    GError *failure;

    if (is_owned(settling, &key->secret)) {
        key->state = GUEST_KEY_BOUND;
        return true;
    }
    g_array_append_val(bindings, binding);
    if (!custodian->bind(custodian->opaque, bindings, &errors, error))
        return false;
    failure = errors->len > 0 ? errors->pdata[0] : NULL;
    if (failure && !error_is(failure, ERROR_NO_SECRET)) {
        g_propagate_error(error, g_error_copy(failure));
        return false;
    }
    key->state = GUEST_KEY_BOUND;
    if (failure && settling->record->state != GUEST_STATE_ARRIVING)
        guest_record_drop(settling->record, &binding.secret);
    return true;
}

/* Of another guest, too: somebody has bound it meanwhile, and that guest keeps it. */
static bool
take_away(struct settling *settling, const struct guest_key *key, GError **error)
{
    const struct guest_custodian *custodian = &settling->service->custodian;
    g_autoptr(GArray) bindings = g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
    const struct guest_binding binding = {key->secret, settling->record->uuid};
    const char *reason = settling->settlement->reason;
    g_autoptr(GPtrArray) errors = NULL;

    if (!has_other_owner(settling, &key->secret))
        return custodian->erase(custodian->opaque, &key->secret, &binding.guest, reason, error);
    g_array_append_val(bindings, binding);
    if (!custodian->unbind(custodian->opaque, bindings, reason, &errors, error))
        return false;
    if (errors->len == 0 || !errors->pdata[0])
        return true;
    g_propagate_error(error, g_error_copy(errors->pdata[0]));
    return false;
}

/* Only what the guest owns was made for it: a secret of that uuid that it does not own is somebody
 * else's, made when ours could not be. */
static bool
undo(struct settling *settling, const struct guest_key *key, GError **error)
{
    struct storage_service *storage = settling->service->storage;
    const struct uuid secret = key->secret;

    if (key->state == GUEST_KEY_MADE && is_owned(settling, &secret)) {
        if (settling->record->state == GUEST_STATE_ARRIVING && key->volume &&
            !storage_service_forget(storage, key->volume, &secret, error))
            return false;
        if (!take_away(settling, key, error))
            return false;
    }
    guest_record_drop(settling->record, &secret);
    return true;
}

static bool
settle(struct settling *settling, struct guest_key *key, GError **error)
{
    bool is_open = key->state == GUEST_KEY_MADE ||
                   (key->state == GUEST_KEY_BOUND && key->origin != GUEST_KEY_REFUSED &&
                    !is_owned(settling, &key->secret));

    if (!is_open)
        return true;
    return is_kept(settling, &key->secret) ? keep(settling, key, error)
                                           : undo(settling, key, error);
}

bool
guest_made_keys_settle(struct guest_service *service, struct guest_record *record,
                       const struct guest_settlement *settlement, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->owners_mutex);
    g_autoptr(GArray) bindings = service->custodian.list(service->custodian.opaque, error);
    struct settling settling = {service, record, settlement, bindings};

    if (!bindings)
        return false;
    for (guint i = record->keys->len; i-- > 0;) {
        if (!settle(&settling, record->keys->pdata[i], error))
            return false;
    }
    return true;
}
