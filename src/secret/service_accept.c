/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: accepting sealed values that the index of generations refuses: an administrator says that
 * what was put back is what shall count. It is sealed anew, as a value that is set, with a
 * generation that is newer than all that were; so floors never fall, and no file that is still
 * somewhere else is taken for the newer one later. The line of the audit is in the same change.
 */
#include "secret/service_index.h"
#include "secret/service_master.h"
#include "secret/service_state.h"
#include "util/error.h"
#include "util/log.h"

/* The newest good file, or false if none is refused. */
static bool
read_refused(const struct secret_service *service, const struct secret *secret,
             struct service_reading *ret_reading)
{
    const struct service_source source = {
        .store = service->store,
        .generations = service->generations,
        .def = secret->def,
        .owners = secret->owners,
    };

    if (!service_index_get(service) || !service_keeps(service, secret->def))
        return false;
    service_read(&source, ret_reading);
    return ret_reading->value.sealed &&
           ret_reading->value.generation < service_index_floor(service, &secret->def->uuid);
}

static void
set_not_refused(const struct uuid *uuid, GError **error)
{
    char text[UUID_TEXT_SIZE];

    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "there is nothing to accept: no file of secret %s that can be opened is older than "
              "what was stored",
              uuid_format(uuid, text));
}

bool
service_prepare_accept(struct change *change, GError **error)
{
    struct secret_service *service = change->service;
    const struct secret *secret = registry_find(service->registry, &change->uuid);
    g_auto(service_reading_t) reading = {0};
    g_autoptr(secret_buf_t) plain = NULL;
    struct audit_event event = {.event = "accept", .reason = "an older value is accepted"};
    struct secret old;

    if (!secret) {
        service_set_not_found(&change->uuid, error);
        return false;
    }
    if (!read_refused(service, secret, &reading)) {
        set_not_refused(&change->uuid, error);
        return false;
    }
    old = (struct secret){.def = secret->def, .value = reading.value, .owners = secret->owners};
    plain = service_open_value(service, &old, error);
    if (!plain || !service_write_value(change, secret->def, secret->owners,
                                       service_last_generation(service, &change->uuid, secret) + 1,
                                       plain, error))
        return false;
    service_note_erasure(service);
    event.guests = owners_data(secret->owners);
    event.guest_count = owners_count(secret->owners);
    return service_add_audit(change, &old, &event, error);
}

void
service_apply_accept(struct change *change)
{
    struct secret *secret = registry_find(change->service->registry, &change->uuid);
    char uuid[UUID_TEXT_SIZE];

    secret_value_replace(&secret->value, &change->value);
    change->def = secret_def_copy(secret->def);
    log_warn("the older value of secret %s that was put back is accepted",
             uuid_format(&change->uuid, uuid));
}

/* ---- what is asked ---- */

struct acceptance {
    struct secret_service *service;
    bool is_of_all;
    unsigned int waiting;
    unsigned int count;
    GError *error; /* the first one */
    secret_accepted_func done;
    void *opaque;
};

/* One is done; the last one ends it. */
static void
end_one(struct acceptance *acceptance)
{
    if (--acceptance->waiting > 0)
        return;
    if (acceptance->is_of_all && !acceptance->error)
        service_index_accept(acceptance->service);
    acceptance->done(acceptance->opaque, acceptance->count, acceptance->error);
    g_clear_error(&acceptance->error);
    g_free(acceptance);
}

static void
on_accepted(void *opaque, const struct secret_def *def, const GError *error)
{
    struct acceptance *acceptance = opaque;

    if (!error)
        acceptance->count++;
    else if (!acceptance->error)
        acceptance->error = g_error_copy(error);
    end_one(acceptance);
}

static void
accept_one(struct acceptance *acceptance, const struct uuid *uuid)
{
    acceptance->waiting++;
    service_submit(
        service_new_change(acceptance->service, CHANGE_ACCEPT, uuid, on_accepted, acceptance));
}

struct search {
    const struct secret_service *service;
    GArray *found; /* of struct uuid */
};

/* Where a good value is in memory, its file is asked for by name. */
static bool
search_refused(const struct secret *secret, void *opaque)
{
    struct search *search = opaque;
    g_auto(service_reading_t) reading = {0};

    if (secret->value.unavailable && read_refused(search->service, secret, &reading))
        g_array_append_val(search->found, secret->def->uuid);
    return true;
}

static void
accept_all(struct acceptance *acceptance)
{
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    struct search search = {acceptance->service, found};

    registry_foreach(acceptance->service->registry, search_refused, &search);
    for (guint i = 0; i < found->len; i++)
        accept_one(acceptance, &g_array_index(found, struct uuid, i));
}

/* Where a person has to unlock it, that comes after this. */
static void
on_unlocked(void *opaque, const struct slot *slot, const GError *error)
{
    struct acceptance *acceptance = opaque;

    if (error)
        acceptance->error = g_error_copy(error);
    else
        accept_all(acceptance);
    end_one(acceptance);
}

static bool
check_has_index(const struct secret_service *service, GError **error)
{
    if (service_index_get(service))
        return true;
    if (service->locked_reason)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the daemon is locked, and nothing can be accepted: %s", service->locked_reason);
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_UNSUPPORTED,
                  "no index of generations is kept, so that nothing is refused");
    return false;
}

void
secret_service_accept(struct secret_service *service, const struct uuid *uuid,
                      secret_accepted_func done, void *opaque)
{
    g_autoptr(GError) error = NULL;
    struct acceptance *acceptance;
    bool is_behind = !uuid && service_index_is_behind(service);

    if (!is_behind && !check_has_index(service, &error)) {
        done(opaque, 0, error);
        return;
    }
    acceptance = g_new0(struct acceptance, 1);
    acceptance->service = service;
    acceptance->is_of_all = !uuid;
    acceptance->done = done;
    acceptance->opaque = opaque;
    acceptance->waiting = 1;
    if (is_behind) {
        service_index_accept_behind(service);
        secret_service_unlock(service, NULL, NULL, on_unlocked, acceptance);
        return;
    }
    if (uuid)
        accept_one(acceptance, uuid);
    else
        accept_all(acceptance);
    end_one(acceptance);
}
