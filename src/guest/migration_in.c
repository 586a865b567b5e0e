/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a guest that comes: its keys are stored before it, and erased again if it does not come.
 * Order: a record that says ARRIVING and names the secrets that are being made, the secrets, the
 * records of its volumes. What is here already is only compared.
 */
#include "conf/xml_text.h"
#include "guest/answer.h"
#include "guest/made_keys.h"
#include "guest/migration.h"
#include "guest/volume.h"

#include <limits.h>
#include <string.h>

#include "util/error.h"
#include "util/log.h"

struct arrival {
    const struct guest_packet *packet;
    struct secret_def *def;
    struct volume_record *volume; /* or NULL */
    bool is_here;                 /* with the same value */
};

static void
arrival_free(void *opaque)
{
    struct arrival *arrival = opaque;

    secret_def_free(arrival->def);
    volume_record_free(arrival->volume);
    g_free(arrival);
}

/* ---- what may come ---- */

static bool G_GNUC_PRINTF(4, 5) refuse(const struct arrival *arrival, enum error_code code,
                                       GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    char uuid[UUID_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    error_set(error, ERROR_FROM_DOMAIN, code, "key %s%s%s: %s",
              uuid_format(&arrival->def->uuid, uuid), arrival->packet->volume ? " of " : "",
              arrival->packet->volume ? arrival->packet->volume : "", text);
    return false;
}

static bool
parse_packet(struct arrival *arrival, GError **error)
{
    const struct guest_packet *packet = arrival->packet;

    arrival->def = secret_def_parse(packet->xml, strlen(packet->xml), false, error);
    if (!arrival->def)
        return false;
    if (arrival->def->is_ephemeral)
        return refuse(arrival, ERROR_INVALID_ARG, error,
                      "an ephemeral secret can't belong to a "
                      "guest");
    if (packet->volume && (packet->volume[0] != '/' || strlen(packet->volume) >= PATH_MAX ||
                           !xml_can_hold(packet->volume)))
        return refuse(arrival, ERROR_INVALID_ARG, error,
                      "a volume's path begins with '/' and is text of less than %d bytes",
                      PATH_MAX);
    if (!packet->record)
        return true;
    arrival->volume = volume_record_parse(packet->record, strlen(packet->record), error);
    if (!arrival->volume)
        return false;
    if (uuid_equal(&arrival->volume->encryption->secret_uuid, &arrival->def->uuid))
        return true;
    return refuse(arrival, ERROR_INVALID_ARG, error, "the volume's record names another key");
}

static bool
check_usage(struct guest_service *service, const struct arrival *arrival, GError **error)
{
    const struct guest_custodian *custodian = &service->custodian;
    const struct secret_def *def = arrival->def;
    g_autoptr(GError) failure = NULL;
    char uuid[UUID_TEXT_SIZE];
    struct uuid other;

    if (def->usage_type == SECRET_USAGE_NONE)
        return true;
    if (custodian->find_usage(custodian->opaque, def->usage_type, def->usage_id, &other, &failure))
        return refuse(arrival, ERROR_OPERATION_INVALID, error,
                      "another secret of this host, %s, has its usage '%s': undefine that one, or "
                      "change its usage",
                      uuid_format(&other, uuid), def->usage_id);
    if (error_is(failure, ERROR_NO_SECRET))
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
compare(struct guest_service *service, struct arrival *arrival, const struct secret_def *here,
        GError **error)
{
    const struct guest_custodian *custodian = &service->custodian;
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_buf_t) value = custodian->get(custodian->opaque, &here->uuid, &failure);

    if (!value && !error_is(failure, ERROR_NO_SECRET)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (!value || here->is_ephemeral)
        return refuse(arrival, ERROR_OPERATION_INVALID, error,
                      "this host has a secret of that uuid that %s: undefine it",
                      value ? "is ephemeral" : "has no value");
    arrival->is_here = secret_buf_equal(value, arrival->packet->key);
    return arrival->is_here ||
           refuse(arrival, ERROR_OPERATION_INVALID, error,
                  "this host has a secret of that uuid with another value: undefine that one if it "
                  "is not needed, or give one of the two volumes a new key");
}

static bool
check_secret(struct guest_service *service, struct arrival *arrival, GError **error)
{
    const struct guest_custodian *custodian = &service->custodian;
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_def_t) here =
        custodian->find(custodian->opaque, &arrival->def->uuid, &failure);

    if (here)
        return compare(service, arrival, here, error);
    if (error_is(failure, ERROR_NO_SECRET))
        return check_usage(service, arrival, error);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
check_is_first(const struct arrival *arrival, const GPtrArray *others, GError **error)
{
    for (guint i = 0; i < others->len; i++) {
        const struct arrival *other = others->pdata[i];

        if (other != arrival && uuid_equal(&other->def->uuid, &arrival->def->uuid))
            return refuse(arrival, ERROR_INVALID_ARG, error, "it is sent twice");
    }
    return true;
}

static GPtrArray *
check_all(struct guest_service *service, const struct guest_migration *migration, GError **error)
{
    g_autoptr(GPtrArray) arrivals = g_ptr_array_new_with_free_func(arrival_free);

    for (guint i = 0; i < migration->packets->len; i++) {
        struct arrival *arrival = g_new0(struct arrival, 1);

        arrival->packet = migration->packets->pdata[i];
        g_ptr_array_add(arrivals, arrival);
        if (!parse_packet(arrival, error) || !check_is_first(arrival, arrivals, error) ||
            !check_secret(service, arrival, error))
            return NULL;
    }
    return g_steal_pointer(&arrivals);
}

/* ---- its record ---- */

/* What an earlier operation left is settled first. */
static bool
finish_earlier(struct guest_service *service, struct guest_record *record, GError **error)
{
    bool is_defining = record->state == GUEST_STATE_DEFINING;
    g_autoptr(guest_seen_t) seen = NULL;
    int64_t look_again = 0;

    if (!is_defining && record->state != GUEST_STATE_LEAVING)
        return true;
    if (!guest_answer_get(service, &record->uuid, &seen, error) ||
        !(is_defining ? guest_define_recover(service, record, seen, error)
                      : guest_migrate_recover(service, record, seen, &look_again, error)))
        return false;
    if (record->state != GUEST_STATE_DEFINING && record->state != GUEST_STATE_LEAVING)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_RESOURCE_BUSY,
              "guest '%s' is being %s on this host: try again when that is done", record->name,
              is_defining ? "defined" : "migrated from here");
    return false;
}

static struct guest_record *
find_record(struct guest_service *service, const struct guest_migration *migration, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(guest_record_t) record =
        guest_records_get(service->records, &migration->uuid, &failure);

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (!record)
        return guest_record_new(&migration->uuid, migration->name,
                                guest_libvirt_uri(service->libvirt));
    return finish_earlier(service, record, error) ? g_steal_pointer(&record) : NULL;
}

/* A key that is here and that the record says was made for this guest stays so: it came with an
 * earlier attempt. */
static void
add_key(struct storage_service *storage, struct guest_record *record, const struct arrival *arrival)
{
    struct guest_key *key = guest_record_take(record, &arrival->def->uuid, arrival->packet->origin);
    bool is_made = !arrival->is_here || key->state == GUEST_KEY_MADE;

    if (key->origin == GUEST_KEY_REFUSED)
        key->origin = arrival->packet->origin;
    key->state = is_made ? GUEST_KEY_MADE : GUEST_KEY_BOUND;
    key->since = 0;
    key->has_remote_copy = false; /* that one goes when the guest is here */
    g_clear_pointer(&key->reason, g_free);
    guest_volume_set(storage, key, arrival->packet->volume);
}

static bool
put_arriving(struct guest_service *service, struct guest_record *record,
             const struct guest_migration *migration, const GPtrArray *arrivals, const char *peer,
             GError **error)
{
    record->state = GUEST_STATE_ARRIVING;
    record->since = guest_answer_now();
    record->operation = migration->migration;
    g_free(record->peer);
    record->peer = g_strdup(peer);
    for (guint i = 0; i < arrivals->len; i++)
        add_key(service->storage, record, arrivals->pdata[i]);
    return guest_records_put(service->records, record, error);
}

/* ---- what comes ---- */

static bool
store(struct guest_service *service, const struct uuid *guest, const GPtrArray *arrivals,
      GError **error)
{
    const struct guest_custodian *custodian = &service->custodian;

    for (guint i = 0; i < arrivals->len; i++) {
        const struct arrival *arrival = arrivals->pdata[i];

        if (!arrival->is_here &&
            !custodian->put(custodian->opaque, arrival->def, arrival->packet->key, guest, 1, error))
            return false;
    }
    for (guint i = 0; i < arrivals->len; i++) {
        const struct arrival *arrival = arrivals->pdata[i];

        if (arrival->volume && !storage_service_take_record(service->storage, arrival->volume,
                                                            arrival->packet->key, error))
            return false;
    }
    return true;
}

/* The guest may be here all the same: shut off, with a definition of its own. */
static void
undo(struct guest_service *service, struct guest_record *record)
{
    g_autoptr(guest_seen_t) seen = NULL;
    g_autoptr(GError) error = NULL;

    if (guest_answer_get(service, &record->uuid, &seen, &error) &&
        (seen ? guest_migration_arrive(service, record, &error)
              : guest_migration_give_up(service, record, &error)))
        return;
    log_warn("keys of guest '%s', which came in part, are erased later: %s", record->name,
             error->message);
    guest_service_note_volume(service);
}

static bool
receive(struct guest_service *service, const struct guest_migration *migration, const char *peer,
        GError **error)
{
    g_autoptr(guest_record_t) record = find_record(service, migration, error);
    g_autoptr(GPtrArray) arrivals = record ? check_all(service, migration, error) : NULL;

    if (!arrivals || !put_arriving(service, record, migration, arrivals, peer, error))
        return false;
    if (store(service, &migration->uuid, arrivals, error))
        return true;
    g_prefix_error(error, "guest '%s' can't come: ", migration->name);
    undo(service, record);
    return false;
}

bool
guest_service_migrate_receive(struct guest_service *service,
                              const struct guest_migration *migration, const char *peer,
                              GError **error)
{
    bool is_right;

    if (!guest_service_check_libvirt(service, error) ||
        !guest_service_lock(service, &migration->uuid, error))
        return false;
    is_right = receive(service, migration, peer, error);
    guest_service_unlock(service, &migration->uuid);
    return is_right;
}

/* ---- its end ---- */

static bool
put_or_remove(struct guest_service *service, const struct guest_record *record, GError **error)
{
    if (record->keys->len == 0)
        return guest_records_remove(service->records, &record->uuid, error);
    return guest_records_put(service->records, record, error);
}

bool
guest_migration_arrive(struct guest_service *service, struct guest_record *record, GError **error)
{
    const struct guest_settlement settlement = {.keep = GUEST_KEEP_ALL};

    if (!guest_made_keys_settle(service, record, &settlement, error))
        return false;
    record->state = GUEST_STATE_PRESENT;
    record->since = guest_answer_now();
    return put_or_remove(service, record, error);
}

bool
guest_migration_give_up(struct guest_service *service, struct guest_record *record, GError **error)
{
    const struct guest_settlement settlement = {
        .keep = GUEST_KEEP_NONE,
        .reason = "its guest did not arrive",
    };

    if (!guest_answer_check_gone(service, record, error) ||
        !guest_made_keys_settle(service, record, &settlement, error))
        return false;
    record->state = GUEST_STATE_UNDEFINED;
    record->since = guest_answer_now();
    record->operation = (struct uuid){0}; /* should it come after all, its keys are not here */
    return put_or_remove(service, record, error);
}
