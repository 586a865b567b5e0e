/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a person does with a key: binds it to a guest, takes it from one, erases it.
 */
#include "guest/service.h"

#include <string.h>

#include "guest/survey.h"
#include "guest/watch.h"
#include "util/error.h"

#define UNBIND_REASON "taken from the guest by virtcrypt key-unbind"
#define ERASE_REASON  "erased by virtcrypt key-erase"

/* ---- records ---- */

/* What was sent is what the end of the operation confirms. */
static bool
check_not_under_way(const struct guest_record *record, GError **error)
{
    const char *what = record->state == GUEST_STATE_DEFINING   ? "being defined"
                       : record->state == GUEST_STATE_ARRIVING ? "arriving from another host"
                       : record->state == GUEST_STATE_LEAVING  ? "leaving for another host"
                                                               : NULL;

    if (what)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_RESOURCE_BUSY,
                  "guest '%s' is %s: wait until that has ended", record->name, what);
    return !what;
}

/* The record, or a new one of that name. */
static struct guest_record *
take_record(struct guest_service *service, const struct uuid *guest, const char *name,
            GError **error)
{
    const char *uri = service->libvirt ? guest_libvirt_uri(service->libvirt) : NULL;
    g_autoptr(guest_record_t) record = NULL;
    g_autoptr(GError) failure = NULL;

    record = guest_records_get(service->records, guest, &failure);
    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (!record)
        record = guest_record_new(guest, name, uri);
    return check_not_under_way(record, error) ? g_steal_pointer(&record) : NULL;
}

static void
set_key(struct guest_record *record, const struct uuid *secret, enum guest_key_origin origin)
{
    struct guest_key *key = guest_record_take(record, secret, origin);

    key->origin = origin;
    key->state = GUEST_KEY_BOUND;
    key->since = 0;
    g_clear_pointer(&key->reason, g_free);
}

/* ---- one binding ---- */

typedef bool (*change_func)(const struct guest_custodian *custodian, const GArray *bindings,
                            GPtrArray **ret_errors, GError **error);

static bool
call_bind(const struct guest_custodian *custodian, const GArray *bindings, GPtrArray **ret_errors,
          GError **error)
{
    return custodian->bind(custodian->opaque, bindings, ret_errors, error);
}

static bool
call_unbind(const struct guest_custodian *custodian, const GArray *bindings, GPtrArray **ret_errors,
            GError **error)
{
    return custodian->unbind(custodian->opaque, bindings, UNBIND_REASON, ret_errors, error);
}

static bool
change_binding(struct guest_service *service, change_func change, const struct uuid *secret,
               const struct uuid *guest, GError **error)
{
    const struct guest_binding binding = {.secret = *secret, .guest = *guest};
    g_autoptr(GArray) bindings = g_array_new(FALSE, FALSE, sizeof(binding));
    g_autoptr(GPtrArray) errors = NULL;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->owners_mutex);

    g_array_append_val(bindings, binding);
    if (!change(&service->custodian, bindings, &errors, error))
        return false;
    if (errors->pdata[0])
        g_propagate_error(error, g_error_copy(errors->pdata[0]));
    return !errors->pdata[0];
}

static bool
bind_locked(struct guest_service *service, const struct uuid *secret, const struct uuid *guest,
            GError **error)
{
    g_autoptr(guest_seen_t) seen = guest_libvirt_find(service->libvirt, guest, error);
    g_autoptr(guest_record_t) record = NULL;

    if (!seen)
        return false;
    record = take_record(service, guest, seen->name, error);
    if (!record || !change_binding(service, call_bind, secret, guest, error))
        return false;
    set_key(record, secret, GUEST_KEY_MANUAL);
    return guest_records_put(service->records, record, error);
}

bool
guest_service_bind(struct guest_service *service, const struct uuid *secret,
                   const struct uuid *guest, GError **error)
{
    bool is_bound;

    if (!guest_service_check_libvirt(service, error) || !guest_service_lock(service, guest, error))
        return false;
    is_bound = bind_locked(service, secret, guest, error);
    guest_service_unlock(service, guest);
    guest_watch_note_guest(service->watch, guest);
    return is_bound;
}

static bool
check_owned(struct guest_service *service, const struct uuid *secret,
            const struct guest_record *record, GError **error)
{
    g_autoptr(guest_survey_t) survey = guest_survey_new(service, error);
    char text[UUID_TEXT_SIZE];

    if (!survey)
        return false;
    if (guest_survey_is_owner(survey, secret, &record->uuid))
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_INVALID,
              "guest '%s' does not own secret %s", record->name, uuid_format(secret, text));
    return false;
}

/* The record comes first, so that nobody binds it again: what a kill leaves undone, the next look
 * does. */
static bool
unbind_locked(struct guest_service *service, const struct uuid *secret, const struct uuid *guest,
              GError **error)
{
    char text[UUID_TEXT_SIZE];
    g_autoptr(guest_record_t) record = take_record(service, guest, uuid_format(guest, text), error);
    g_autoptr(guest_record_t) before = NULL;

    if (!record || !check_owned(service, secret, record, error))
        return false;
    before = guest_record_copy(record);
    set_key(record, secret, GUEST_KEY_REFUSED);
    if (!guest_records_put(service->records, record, error))
        return false;
    if (change_binding(service, call_unbind, secret, guest, error))
        return true;
    guest_records_put(service->records, before, NULL);
    return false;
}

bool
guest_service_unbind(struct guest_service *service, const struct uuid *secret,
                     const struct uuid *guest, GError **error)
{
    bool is_unbound;

    if (!guest_service_lock(service, guest, error))
        return false;
    is_unbound = unbind_locked(service, secret, guest, error);
    guest_service_unlock(service, guest);
    if (service->watch)
        guest_watch_note_guest(service->watch, guest);
    return is_unbound;
}

/* ---- erasing ---- */

/* Guests (array of struct uuid, ascending) that own it, or whose record has it. */
static GArray *
list_holders(struct guest_service *service, const struct guest_survey *survey,
             const struct uuid *secret)
{
    GArray *holders = guest_survey_owners(survey, secret);
    g_autoptr(GPtrArray) records = guest_records_list(service->records);

    for (guint i = 0; i < records->len; i++) {
        const struct guest_record *record = records->pdata[i];
        const struct guest_key *key = guest_record_find(record, secret);

        if (key && key->origin != GUEST_KEY_REFUSED &&
            !guest_survey_is_owner(survey, secret, &record->uuid))
            g_array_append_val(holders, record->uuid);
    }
    g_array_sort(holders, uuid_compare_key);
    return holders;
}

static const struct guest_seen *
find_seen(const struct guest_survey *survey, const struct uuid *guest)
{
    const GPtrArray *all = guest_survey_all(survey);

    for (guint i = 0; i < all->len; i++) {
        const struct guest_seen *seen = all->pdata[i];

        if (uuid_equal(&seen->uuid, guest))
            return seen;
    }
    return NULL;
}

static bool
check_absent(struct guest_survey *survey, const struct uuid *guest, GError **error)
{
    const struct guest_seen *seen = find_seen(survey, guest);
    char text[UUID_TEXT_SIZE];
    bool has_definition;

    if (seen) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_INVALID,
                  "guest '%s' is there and owns it: undefine the guest, or take the key from it "
                  "with virtcrypt key-unbind",
                  seen->name);
        return false;
    }
    if (!guest_survey_has_definition(survey, guest, &has_definition, error))
        return false;
    if (has_definition)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_INVALID,
                  "libvirt has a definition of guest %s that it did not load, and that owns it",
                  uuid_format(guest, text));
    return !has_definition;
}

/* That no guest which is there uses it. */
static bool
check_unused(struct guest_survey *survey, const struct uuid *secret, const GArray *holders,
             GError **error)
{
    const struct guest_seen *referrer = guest_survey_find_referrer(survey, secret);
    char text[UUID_TEXT_SIZE];

    if (guest_survey_hold(survey)) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED, "nothing can be erased: %s",
                  guest_survey_hold(survey));
        return false;
    }
    if (referrer) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_INVALID,
                  "guest '%s' is there and uses secret %s", referrer->name,
                  uuid_format(secret, text));
        return false;
    }
    for (guint i = 0; i < holders->len; i++) {
        if (!check_absent(survey, &g_array_index(holders, struct uuid, i), error))
            return false;
    }
    return true;
}

static bool
check_records(struct guest_service *service, const GArray *holders, GError **error)
{
    for (guint i = 0; i < holders->len; i++) {
        g_autoptr(GError) failure = NULL;
        g_autoptr(guest_record_t) record =
            guest_records_get(service->records, &g_array_index(holders, struct uuid, i), &failure);

        if (failure) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return false;
        }
        if (record && !check_not_under_way(record, error))
            return false;
    }
    return true;
}

static bool
drop_from_record(struct guest_service *service, const struct uuid *guest, const struct uuid *secret,
                 GError **error)
{
    g_autoptr(guest_record_t) record = guest_records_get(service->records, guest, NULL);

    if (!record || !guest_record_find(record, secret))
        return true;
    guest_record_drop(record, secret);
    return record->keys->len > 0 ? guest_records_put(service->records, record, error)
                                 : guest_records_remove(service->records, guest, error);
}

static bool
has_same(const GArray *a, const GArray *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len * sizeof(struct uuid)) == 0;
}

/* The holders are locked. Nobody becomes an owner between the last look and the erasure. */
static bool
erase_locked(struct guest_service *service, struct guest_survey *survey, const struct uuid *secret,
             const GArray *holders, GError **error)
{
    const struct guest_custodian *custodian = &service->custodian;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->owners_mutex);
    g_autoptr(GArray) present = NULL;
    char text[UUID_TEXT_SIZE];

    if (!guest_survey_renew_owners(survey, error) || !check_records(service, holders, error))
        return false;
    present = list_holders(service, survey, secret);
    if (!has_same(present, holders)) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_RESOURCE_BUSY,
                  "the owners of secret %s are changing: try again", uuid_format(secret, text));
        return false;
    }
    if (!custodian->erase(custodian->opaque, secret, &g_array_index(holders, struct uuid, 0),
                          ERASE_REASON, error))
        return false;
    for (guint i = 0; i < holders->len; i++) {
        if (!drop_from_record(service, &g_array_index(holders, struct uuid, i), secret, error))
            return false;
    }
    return true;
}

static void
unlock_guests(struct guest_service *service, const GArray *guests, guint count)
{
    for (guint i = 0; i < count; i++)
        guest_service_unlock(service, &g_array_index(guests, struct uuid, i));
}

/* In the order of uuids, so that two can't wait for one another. */
static bool
lock_guests(struct guest_service *service, const GArray *guests, GError **error)
{
    for (guint i = 0; i < guests->len; i++) {
        if (!guest_service_lock(service, &g_array_index(guests, struct uuid, i), error)) {
            unlock_guests(service, guests, i);
            return false;
        }
    }
    return true;
}

bool
guest_service_erase(struct guest_service *service, const struct uuid *secret, GError **error)
{
    g_autoptr(guest_survey_t) survey = NULL;
    g_autoptr(GArray) holders = NULL;
    char text[UUID_TEXT_SIZE];
    bool is_erased;

    if (!guest_service_check_libvirt(service, error))
        return false;
    survey = guest_survey_new(service, error);
    if (!survey)
        return false;
    holders = list_holders(service, survey, secret);
    if (holders->len == 0) {
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
                  "no guest owns secret %s (virsh secret-undefine takes away secrets of none)",
                  uuid_format(secret, text));
        return false;
    }
    if (!lock_guests(service, holders, error))
        return false;
    is_erased = guest_survey_look_at_all(survey, error) &&
                check_unused(survey, secret, holders, error) &&
                erase_locked(service, survey, secret, holders, error);
    unlock_guests(service, holders, holders->len);
    return is_erased;
}
