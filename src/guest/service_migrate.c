/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how a migration ends, on either side: by the word of who migrated, which libvirt has to
 * confirm, or by what libvirt says when nobody gave a word.
 */
#include "guest/answer.h"
#include "guest/migration.h"

#include "util/error.h"
#include "util/log.h"

enum { MIGRATING_LOOK_S = 60 };

static bool
is_none(const struct uuid *migration)
{
    static const struct uuid none;

    return uuid_equal(migration, &none);
}

/* ---- the end by word ---- */

struct ending {
    struct guest_service *service;
    struct guest_record *record; /* or NULL */
    struct guest_seen *seen;     /* or NULL */
    bool has_moved;
};

static bool G_GNUC_PRINTF(3, 4)
    refuse(const struct ending *ending, GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_INVALID,
              "guest '%s' %s: nothing is changed", ending->record->name, text);
    return false;
}

static bool
is_running(const struct ending *ending)
{
    return ending->seen && ending->seen->is_active;
}

/* One that is shut off here is a definition that stayed, with its keys. */
static bool
end_leaving(const struct ending *ending, GError **error)
{
    if (!ending->has_moved && !ending->seen)
        return refuse(ending, error, "is not here, though it is said to have stayed");
    if (ending->has_moved && is_running(ending))
        return refuse(ending, error, "runs here, though it is said to have moved");
    /* Who gave up does not decide it while libvirt goes on: where the guest is then does. */
    if (ending->seen && ending->seen->is_migrating)
        return true;
    if (ending->seen)
        return guest_migration_stay(ending->service, ending->record, error);
    return guest_migration_leave(ending->service, ending->record, true, error);
}

static bool
end_arriving(const struct ending *ending, GError **error)
{
    if (ending->has_moved && !ending->seen)
        return refuse(ending, error, "is not here, though it is said to have moved");
    if (!ending->has_moved && is_running(ending))
        return refuse(ending, error, "runs here, though it is said to have stayed where it was");
    if (ending->seen)
        return guest_migration_arrive(ending->service, ending->record, error);
    return guest_migration_give_up(ending->service, ending->record, error);
}

static bool
is_owned(const GArray *bindings, const struct uuid *secret, const struct uuid *guest)
{
    for (guint i = 0; i < bindings->len; i++) {
        const struct guest_binding *binding = &g_array_index(bindings, struct guest_binding, i);

        if (uuid_equal(&binding->secret, secret) && uuid_equal(&binding->guest, guest))
            return true;
    }
    return false;
}

/* The other host erases what it has of a guest that is here. */
static bool
check_has_keys(const struct ending *ending, GError **error)
{
    const struct guest_custodian *custodian = &ending->service->custodian;
    const struct guest_record *record = ending->record;
    g_autoptr(GArray) bindings = NULL;
    char uuid[UUID_TEXT_SIZE];

    if (!ending->has_moved || !ending->seen)
        return true;
    bindings = custodian->list(custodian->opaque, error);
    for (guint i = 0; bindings && i < record->keys->len; i++) {
        const struct guest_key *key = record->keys->pdata[i];

        if (key->origin != GUEST_KEY_REFUSED && !is_owned(bindings, &key->secret, &record->uuid))
            return refuse(ending, error,
                          "has no key %s here any more: the other host has to keep it",
                          uuid_format(&key->secret, uuid));
    }
    return bindings != NULL;
}

/* It has ended already: by the same word, or by what libvirt said. An operation is left in the
 * record of a guest that came or that left after its keys were sent, none in that of one that
 * stayed, or went without us. */
static bool
end_again(const struct ending *ending, GError **error)
{
    bool was_sent = !is_none(&ending->record->operation);

    if (ending->has_moved && !was_sent)
        return refuse(ending, error, "was not migrated with its keys: they are only here");
    if (ending->record->state == GUEST_STATE_MIGRATED)
        return end_leaving(ending, error);
    if (was_sent && ending->has_moved != (ending->seen != NULL))
        return refuse(ending, error, "is%s here, other than it is said to be",
                      ending->seen ? "" : " not");
    return true;
}

/* A host that has no record of the guest has sent its keys away and erased them, or has given up
 * waiting for them; but a guest that is here has not come with keys. */
static bool
end_unknown(const struct ending *ending, const struct uuid *guest, GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    if (!ending->has_moved || !ending->seen)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_INVALID,
              "no keys came to this host with guest %s, which is here: the other host has to keep "
              "them",
              uuid_format(guest, uuid));
    return false;
}

static bool
end(const struct ending *ending, const struct uuid *migration, GError **error)
{
    const struct guest_record *record = ending->record;

    if (!is_none(migration) && !is_none(&record->operation) &&
        !uuid_equal(&record->operation, migration))
        return refuse(ending, error, "is in another migration, or has been since");
    switch (record->state) {
    case GUEST_STATE_LEAVING:
        return end_leaving(ending, error);
    case GUEST_STATE_ARRIVING:
        return end_arriving(ending, error) && check_has_keys(ending, error);
    case GUEST_STATE_DEFINING:
        return refuse(ending, error, "is being defined");
    case GUEST_STATE_PRESENT:
    case GUEST_STATE_UNDEFINED:
    case GUEST_STATE_MIGRATED:
    case GUEST_STATE_LAST:
        break;
    }
    return end_again(ending, error) && check_has_keys(ending, error);
}

/* ---- what is said of it ---- */

static unsigned int
count_orphaned(const struct guest_record *record)
{
    unsigned int count = 0;

    for (guint i = 0; record && i < record->keys->len; i++) {
        const struct guest_key *key = record->keys->pdata[i];

        count += key->state == GUEST_KEY_ORPHANED;
    }
    return count;
}

static const char *
state_of(const struct guest_seen *seen, const struct guest_record *record, bool has_moved)
{
    if (seen)
        return seen->is_active ? "running" : "shut off";
    if (record ? record->state == GUEST_STATE_MIGRATED : has_moved)
        return "migrated";
    return "undefined";
}

/* The plan erases what the other host holds, if that is due at once. */
static void
erase_due(struct guest_service *service, const struct uuid *guest, unsigned int before,
          struct guest_migrate_end *ret_end)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(guest_record_t) record = NULL;
    unsigned int after;

    if (!guest_service_reconcile(service, &error))
        log_warn("keys of a guest that has left are erased later: %s", error->message);
    record = guest_records_get(service->records, guest, NULL);
    after = record ? record->keys->len : 0;
    ret_end->erased = before > after ? before - after : 0;
    ret_end->orphaned = count_orphaned(record);
}

static bool
find_and_end(struct guest_service *service, const struct uuid *guest, const struct uuid *migration,
             struct ending *ending, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (!guest_answer_get(service, guest, &ending->seen, error))
        return false;
    ending->record = guest_records_get(service->records, guest, &failure);
    if (!failure)
        return ending->record ? end(ending, migration, error) : end_unknown(ending, guest, error);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

bool
guest_service_migrate_end(struct guest_service *service, const struct uuid *guest,
                          const struct uuid *migration, bool has_moved,
                          struct guest_migrate_end *ret_end, GError **error)
{
    struct ending ending = {.service = service, .has_moved = has_moved};
    g_autoptr(guest_record_t) record = NULL;
    g_autoptr(guest_seen_t) seen = NULL;
    bool is_right;

    if (!guest_service_lock(service, guest, error))
        return false;
    is_right = find_and_end(service, guest, migration, &ending, error);
    guest_service_unlock(service, guest);
    record = ending.record;
    seen = ending.seen;
    if (!is_right)
        return false;
    *ret_end = (struct guest_migrate_end){.state = state_of(seen, record, has_moved)};
    if (record && record->state == GUEST_STATE_MIGRATED)
        erase_due(service, guest, record->keys->len, ret_end);
    return true;
}

/* ---- the end without a word ---- */

/* Newer than what the caller has of a list, which does not say whether the guest is on its way. */
static bool
recover_arriving(struct guest_service *service, struct guest_record *record,
                 const struct guest_seen *seen, int64_t *ret_look_again, GError **error)
{
    int64_t now = guest_answer_now();

    if (seen && seen->is_migrating) {
        *ret_look_again = now + MIGRATING_LOOK_S;
        return true;
    }
    if (seen)
        return guest_migration_arrive(service, record, error);
    if (now - record->since >= GUEST_MIGRATION_PATIENCE_S)
        return guest_migration_give_up(service, record, error);
    *ret_look_again = record->since + GUEST_MIGRATION_PATIENCE_S;
    return true;
}

static bool
recover_leaving(struct guest_service *service, struct guest_record *record,
                const struct guest_seen *seen, int64_t *ret_look_again, GError **error)
{
    int64_t now = guest_answer_now();

    if (!seen)
        return guest_migration_leave(service, record, false, error);
    if (!seen->is_migrating && now - record->since >= GUEST_MIGRATION_PATIENCE_S)
        return guest_migration_stay(service, record, error);
    *ret_look_again = MAX(record->since + GUEST_MIGRATION_PATIENCE_S, now + MIGRATING_LOOK_S);
    return true;
}

bool
guest_migrate_recover(struct guest_service *service, struct guest_record *record,
                      const struct guest_seen *seen, int64_t *ret_look_again, GError **error)
{
    g_autoptr(guest_seen_t) newer = NULL;

    if (seen && !guest_answer_get(service, &record->uuid, &newer, error))
        return false;
    if (record->state == GUEST_STATE_ARRIVING)
        return recover_arriving(service, record, newer, ret_look_again, error);
    if (record->state == GUEST_STATE_LEAVING)
        return recover_leaving(service, record, newer, ret_look_again, error);
    return true;
}
