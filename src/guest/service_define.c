/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: defining a guest together with its keys. Order: a record that says DEFINING and names the
 * secrets that are being made (from then on a failure is undone), the secrets, libvirt's
 * definition, a record that says PRESENT. What libvirt answers decides which way it ends.
 */
#include <string.h>

#include "conf/domain_secrets.h"
#include "guest/answer.h"
#include "guest/made_keys.h"
#include "guest/sent_keys.h"
#include "guest/volume.h"
#include "util/error.h"
#include "util/log.h"

enum {
    LATE_S = 120
}; /* how long a call to libvirt that was not answered may still have an effect */

struct definition {
    struct guest_service *service;
    const struct guest_define_request *request;
    struct domain_keys *domain;
    struct uuid guest;
    GPtrArray *sent; /* of struct guest_sent_key */
    char *xml;       /* with their secrets */
    struct guest_record *record;
};

static void
definition_clear(struct definition *definition)
{
    domain_keys_free(definition->domain);
    g_clear_pointer(&definition->sent, g_ptr_array_unref);
    g_free(definition->xml);
    guest_record_free(definition->record);
}

typedef struct definition definition_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(definition_t, definition_clear)

static void
stored_key_free(void *opaque)
{
    struct guest_stored_key *stored = opaque;

    g_free(stored->volume);
    g_free(stored);
}

void
guest_defined_free(struct guest_defined *defined)
{
    if (!defined)
        return;
    g_free(defined->name);
    g_ptr_array_unref(defined->keys);
    g_free(defined);
}

/* ---- before anything is changed ---- */

static bool
find_definition(struct definition *definition, GError **error)
{
    const struct guest_define_request *request = definition->request;

    definition->domain = domain_keys_parse(request->xml, strlen(request->xml), error);
    if (!definition->domain)
        return false;
    definition->guest = definition->domain->uuid;
    return definition->domain->has_uuid || uuid_generate_random(&definition->guest, error);
}

static bool
put_secrets_into_xml(struct definition *definition, GError **error)
{
    g_autofree struct domain_key_place *places =
        g_new0(struct domain_key_place, definition->sent->len + 1);
    size_t count = 0;

    for (guint i = 0; i < definition->sent->len; i++) {
        const struct guest_sent_key *sent = definition->sent->pdata[i];

        if (!sent->is_in_xml)
            places[count++] = (struct domain_key_place){sent->volume, sent->secret};
    }
    definition->xml = domain_keys_put(definition->request->xml, definition->domain,
                                      &definition->guest, places, count, error);
    return definition->xml != NULL;
}

/* What an earlier definition left is settled first. */
static bool
finish_earlier(struct definition *definition, struct guest_record *record, GError **error)
{
    g_autoptr(guest_seen_t) seen = NULL;

    if (record->state == GUEST_STATE_ARRIVING || record->state == GUEST_STATE_LEAVING) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_RESOURCE_BUSY,
                  "guest '%s' is being migrated: try again when that is done", record->name);
        return false;
    }
    if (record->state != GUEST_STATE_DEFINING)
        return true;
    if (!guest_answer_get(definition->service, &definition->guest, &seen, error) ||
        !guest_define_recover(definition->service, record, seen, error))
        return false;
    if (record->state != GUEST_STATE_DEFINING)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_RESOURCE_BUSY,
              "guest '%s' is being defined: libvirt has not answered yet", record->name);
    return false;
}

static bool
find_record(struct definition *definition, GError **error)
{
    struct guest_service *service = definition->service;
    g_autoptr(GError) failure = NULL;
    g_autoptr(guest_record_t) before =
        guest_records_get(service->records, &definition->guest, &failure);

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (before && !finish_earlier(definition, before, error))
        return false;
    definition->record = before ? g_steal_pointer(&before)
                                : guest_record_new(&definition->guest, definition->domain->name,
                                                   guest_libvirt_uri(service->libvirt));
    return true;
}

/* ---- the steps ---- */

static bool
put_defining(struct definition *definition, GError **error)
{
    struct guest_record *record = definition->record;

    record->state = GUEST_STATE_DEFINING;
    record->since = guest_answer_now();
    if (!uuid_generate_random(&record->operation, error))
        return false;
    for (guint i = 0; i < definition->sent->len; i++) {
        const struct guest_sent_key *sent = definition->sent->pdata[i];
        struct guest_key *key = guest_record_take(record, &sent->secret, GUEST_KEY_SENT);

        if (key->origin == GUEST_KEY_REFUSED)
            key->origin = GUEST_KEY_SENT;
        if (sent->def)
            key->state = GUEST_KEY_MADE;
        guest_volume_set(definition->service->storage, key, sent->path);
    }
    return guest_records_put(definition->service->records, record, error);
}

static bool
put_secrets(const struct definition *definition, GError **error)
{
    const struct guest_custodian *custodian = &definition->service->custodian;

    for (guint i = 0; i < definition->sent->len; i++) {
        const struct guest_sent_key *sent = definition->sent->pdata[i];

        if (sent->def && !custodian->put(custodian->opaque, sent->def, sent->key,
                                         &definition->guest, 1, error)) {
            g_prefix_error(error,
                           "can't store the key of disk '%s' of guest '%s': ", sent->volume->target,
                           definition->domain->name);
            return false;
        }
    }
    return true;
}

static bool
define(const struct definition *definition, GError **error)
{
    struct guest_libvirt *libvirt = definition->service->libvirt;
    unsigned int flags = definition->request->flags;
    struct uuid uuid;

    return definition->request->is_create
               ? guest_libvirt_create(libvirt, definition->xml, flags, &uuid, error)
               : guest_libvirt_define(libvirt, definition->xml, flags, &uuid, error);
}

/* A call that was not answered in time may still be carried out: until then, that there is no such
 * guest decides nothing. */
static bool
wait_for_late(const struct definition *definition, GError **error)
{
    definition->record->since = guest_answer_now() + LATE_S;
    return guest_records_put(definition->service->records, definition->record, error);
}

static void
undo(const struct definition *definition, const GError *failure)
{
    struct guest_service *service = definition->service;
    g_autoptr(guest_seen_t) seen = NULL;
    g_autoptr(GError) error = NULL;

    if (error_is(failure, ERROR_OPERATION_TIMEOUT)
            ? wait_for_late(definition, &error)
            : guest_answer_get(service, &definition->guest, &seen, &error) &&
                  guest_define_recover(service, definition->record, seen, &error))
        return;
    log_warn("the definition of guest '%s' with its keys failed, and is undone or finished when "
             "libvirt and the custodian answer: %s",
             definition->domain->name, error->message);
    guest_service_note_volume(service);
}

/* The guest is there: its keys are in the custodian, so nothing fails any more. */
static void
finish(const struct definition *definition)
{
    struct guest_service *service = definition->service;
    const struct guest_settlement settlement = {.keep = GUEST_KEEP_ALL};
    struct guest_record *record = definition->record;
    g_autoptr(GError) error = NULL;

    if (guest_made_keys_settle(service, record, &settlement, &error)) {
        record->state = GUEST_STATE_PRESENT;
        record->since = guest_answer_now();
        if (guest_records_put(service->records, record, &error))
            return;
    }
    log_warn("guest '%s' is defined with its keys; that they are its own is recorded later: %s",
             record->name, error->message);
    guest_service_note_volume(service);
}

static bool
define_with_keys(struct definition *definition, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (!put_defining(definition, error))
        return false;
    if (put_secrets(definition, &failure) && define(definition, &failure)) {
        finish(definition);
        return true;
    }
    undo(definition, failure);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
run(struct definition *definition, GError **error)
{
    if (!find_record(definition, error))
        return false;
    definition->sent =
        guest_sent_keys_find(definition->service, definition->domain, definition->request, error);
    if (!definition->sent || !put_secrets_into_xml(definition, error))
        return false;
    return definition->sent->len > 0 ? define_with_keys(definition, error)
                                     : define(definition, error);
}

static struct guest_defined *
describe(const struct definition *definition)
{
    struct guest_defined *defined = g_new0(struct guest_defined, 1);

    defined->name = g_strdup(definition->domain->name);
    defined->uuid = definition->guest;
    defined->keys = g_ptr_array_new_with_free_func(stored_key_free);
    for (guint i = 0; i < definition->sent->len; i++) {
        const struct guest_sent_key *sent = definition->sent->pdata[i];
        struct guest_stored_key *stored = g_new0(struct guest_stored_key, 1);

        stored->volume = g_strdup(sent->path ? sent->path : sent->volume->target);
        stored->secret = sent->secret;
        stored->is_generated = sent->is_generated;
        g_ptr_array_add(defined->keys, stored);
    }
    return defined;
}

struct guest_defined *
guest_service_define(struct guest_service *service, const struct guest_define_request *request,
                     GError **error)
{
    g_auto(definition_t) definition = {.service = service, .request = request};
    bool is_right;

    if (!guest_service_check_libvirt(service, error) || !find_definition(&definition, error) ||
        !guest_service_lock(service, &definition.guest, error))
        return NULL;
    is_right = run(&definition, error);
    guest_service_unlock(service, &definition.guest);
    return is_right ? describe(&definition) : NULL;
}

/* ---- what a failure or a crash left ---- */

/* The secrets that one XML of the guest names. */
static bool
add_named(struct guest_service *service, const char *xml, GArray *named, GError **error)
{
    const struct guest_custodian *custodian = &service->custodian;
    g_autoptr(domain_secrets_t) secrets = domain_secrets_parse(xml, strlen(xml), error);

    for (guint i = 0; secrets && i < secrets->secrets->len; i++) {
        const struct domain_secret *secret = secrets->secrets->pdata[i];
        g_autoptr(GError) failure = NULL;
        struct uuid uuid = secret->uuid;

        if (secret->has_uuid || custodian->find_usage(custodian->opaque, secret->usage_type,
                                                      secret->usage, &uuid, &failure)) {
            g_array_append_val(named, uuid);
        } else if (!error_is(failure, ERROR_NO_SECRET)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return false;
        }
    }
    return secrets != NULL;
}

static bool
settle_present(struct guest_service *service, struct guest_record *record,
               const struct guest_seen *seen, GError **error)
{
    g_autoptr(GArray) named = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    const struct guest_settlement settlement = {
        .keep = GUEST_KEEP_NAMED,
        .named = named,
        .reason = "its guest could not be defined",
    };

    for (guint i = 0; i < seen->xmls->len; i++) {
        if (!add_named(service, seen->xmls->pdata[i], named, error))
            return false;
    }
    return guest_made_keys_settle(service, record, &settlement, error);
}

static bool
may_still_come(const struct guest_record *record, const struct guest_seen *seen)
{
    int64_t ahead = record->since - guest_answer_now();

    return !seen && ahead > 0 && ahead <= LATE_S;
}

bool
guest_define_recover(struct guest_service *service, struct guest_record *record,
                     const struct guest_seen *seen, GError **error)
{
    const struct guest_settlement nothing = {
        .keep = GUEST_KEEP_NONE,
        .reason = "its guest could not be defined",
    };

    if (may_still_come(record, seen))
        return true;
    if (!seen && !guest_answer_check_gone(service, record, error))
        return false;
    if (seen ? !settle_present(service, record, seen, error)
             : !guest_made_keys_settle(service, record, &nothing, error))
        return false;
    record->state = seen ? GUEST_STATE_PRESENT : GUEST_STATE_UNDEFINED;
    record->since = guest_answer_now();
    if (record->keys->len == 0)
        return guest_records_remove(service->records, &record->uuid, error);
    return guest_records_put(service->records, record, error);
}
