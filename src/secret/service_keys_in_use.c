/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the files of keys while the service has what was in them in memory. One that went away or
 * is damaged is written again: what is in memory may be the only good copy. One of another master
 * key, or of other generations, may be part of a store that is being put back as a whole; it is
 * left, and told.
 */
#include "secret/service_chores.h"
#include "secret/service_master_work.h"
#include "secret/service_state.h"
#include "util/error.h"
#include "util/log.h"

static void
log_left(const GError *error)
{
    log_error("%s; the daemon goes on with what it has in memory, and is locked at its next start",
              error->message);
}

/* ---- slots ---- */

/* What was not authentic when it was read is no better than what is there. */
static bool
are_slots_good(const struct service_slots *slots)
{
    return slots->slots && !slots->problem;
}

static void
write_slots(struct secret_service *service, const char *why)
{
    const struct service_slots *slots = &service->slots;
    g_autoptr(GError) error = NULL;

    if (slots_write(slots->path, slots->slots, service->master_key, &error))
        log_warn("the master key's slots (%s) were %s, and are written again from memory",
                 slots->path, why);
    else
        log_error("the master key's slots (%s) were %s, and cannot be written again: %s; when the "
                  "daemon ends all sealed values are lost",
                  slots->path, why, error->message);
}

static void
mend_missing_slots(struct secret_service *service)
{
    const struct service_slots *slots = &service->slots;

    if (are_slots_good(slots))
        write_slots(service, "gone");
    else if (slots->slots)
        log_error("the master key's slots (%s) are gone, and what is in memory of them is not as "
                  "it was written; when the daemon ends all sealed values are lost: put the file "
                  "back from a backup, or give all slots a new master key now ('virtcrypt master "
                  "rotate')",
                  slots->path);
}

static bool
mend_damaged_slots(struct secret_service *service, const GError *error)
{
    g_autofree char *why = g_strdup_printf("damaged or changed (%s)", error->message);

    write_slots(service, why);
    return true;
}

/* False with ERROR_INVALID_SECRET: it is damaged. */
static bool
check_slots(const struct secret_service *service, GError **error)
{
    const char *path = service->slots.path;
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(slots_t) found = slots_read(path, &bytes, error);

    if (!found)
        return false;
    if (!master_key_equal_id(service->master_key, found->master_key_id)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key's slots (%s) were replaced by another master key's; the daemon "
                  "goes on with the one that it has in memory, and when it ends all sealed values "
                  "are lost without it: put that file back",
                  path);
        return false;
    }
    /* That it is not authentic was told when it was read. */
    return service->slots.problem ||
           slots_authenticate(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                              service->master_key, error);
}

/* Whether what is there is ours then, or there is nothing any more. */
static bool
mend_slots(struct secret_service *service)
{
    g_autoptr(GError) error = NULL;

    if (!slots_exists(service->slots.path)) {
        mend_missing_slots(service);
        return true;
    }
    if (check_slots(service, &error))
        return true;
    if (error_is(error, ERROR_INVALID_SECRET) && are_slots_good(&service->slots))
        return mend_damaged_slots(service, error);
    if (error_is(error, ERROR_OPERATION_INVALID))
        log_error("%s", error->message);
    else
        log_left(error);
    return false;
}

/* ---- generations ---- */

static void
write_generations(const struct secret_service *service, const char *why)
{
    g_autoptr(GError) error = NULL;

    if (generations_write(service->generations, &error))
        log_warn("the key-encryption generations (%s) were %s, and are written again from memory",
                 service->generations_path, why);
    else
        log_error("the key-encryption generations (%s) were %s, and cannot be written again: %s; "
                  "when the daemon ends all sealed values are lost",
                  service->generations_path, why, error->message);
}

static void
mend_generations(const struct secret_service *service)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *why = NULL;

    switch (generations_look(service->generations, &error)) {
    case GENERATIONS_GOOD:
        return;
    case GENERATIONS_GONE:
        write_generations(service, "gone");
        return;
    case GENERATIONS_DAMAGED:
        why = g_strdup_printf("damaged or changed (%s)", error->message);
        write_generations(service, why);
        return;
    case GENERATIONS_OTHERS:
        log_left(error);
        return;
    }
}

void
service_check_keys_in_use(struct secret_service *service)
{
    /* A thread that writes the file is not to be disturbed: reading it finishes a write. */
    if (!service_master_is_busy(service) && mend_slots(service))
        service_chores_check_opener(service);
    mend_generations(service);
}
