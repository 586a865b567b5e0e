/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: whether the service has its keys: the master key, which a slot unlocks, and the generations
 * that it opens. Both are made only where there is nothing that new ones could not open (for the
 * master key: service_first_start.c); what stands in the way locks the service, with the reason.
 */
#include <errno.h>
#include <string.h>

#include "secret/sealed.h"
#include "secret/service_chores.h"
#include "secret/service_index.h"
#include "secret/service_master_work.h"
#include "secret/service_state.h"
#include "util/error.h"
#include "util/log.h"

static void
set_locked(struct secret_service *service, char *take_reason)
{
    service_rotate_stop(service);
    service_index_close(service);
    g_clear_pointer(&service->generations, generations_free);
    g_clear_pointer(&service->previous_key, master_key_free);
    g_clear_pointer(&service->master_key, master_key_free);
    service->slots.has_opener = false;
    g_free(service->locked_reason);
    service->locked_reason = take_reason;
}

void
service_lock(struct secret_service *service, const char *reason)
{
    set_locked(service, g_strdup_printf(
                            "%s (when that is put right, run 'virtcrypt master unlock')", reason));
}

void
service_lock_while_trying(struct secret_service *service)
{
    struct service_slots *slots = &service->slots;

    set_locked(service,
               g_strdup("the slots of the master key are still being tried, and some do not "
                        "answer: it is unlocked when one opens, or with a passphrase by "
                        "'virtcrypt master unlock'"));
    /* Who has one of them sees what there is. */
    if (!slots->slots && slots_exists(slots->path))
        slots->slots = slots_read(slots->path, NULL, NULL);
    log_error("the daemon is locked, and values can be neither read nor set: %s",
              service->locked_reason);
}

/* ---- trying the slots ---- */

void
service_try_clear(struct service_try *tried)
{
    g_clear_pointer(&tried->slots, slots_free);
    g_clear_pointer(&tried->attempts, g_array_unref);
    g_clear_pointer(&tried->key, master_key_free);
    g_clear_pointer(&tried->problem, g_free);
    g_clear_error(&tried->error);
}

static struct master_key *
try_one(const struct unlock_context *unlock, const struct uuid *only,
        const struct secret_buf *secret, struct service_try *tried)
{
    const struct slot *slot = slots_find(tried->slots, only);
    char uuid[UUID_TEXT_SIZE];
    struct master_key *key;

    if (!slot) {
        error_set(&tried->error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
                  "the master key has no slot '%s'; 'virtcrypt master status' lists them",
                  uuid_format(only, uuid));
        return NULL;
    }
    key = unlock_slot(unlock, tried->slots, slot, secret, &tried->error);
    unlock_attempts_add(tried->attempts, slot, tried->error);
    return key;
}

/* One that opens is used even if the file is not what was written: a host with guests that can't
 * start is worse, and who could change it has had no key. */
static void
check_tag(const char *path, GBytes *bytes, struct service_try *tried)
{
    g_autoptr(GError) error = NULL;

    if (slots_authenticate(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), tried->key,
                           &error))
        return;
    tried->problem = g_strdup_printf(
        "%s is not as it was written (%s), and no slot can be changed: put it back from a backup, "
        "or give all slots a new master key ('virtcrypt master rotate')",
        path, error->message);
}

void
service_try_slots(const char *path, const struct unlock_context *unlock, const struct uuid *only,
                  const struct secret_buf *secret, struct service_try *ret_try)
{
    g_autoptr(GBytes) bytes = NULL;

    *ret_try = (struct service_try){.attempts = unlock_attempts_new()};
    ret_try->has_slots = slots_exists(path);
    if (!ret_try->has_slots)
        return;
    ret_try->slots = slots_read(path, &bytes, &ret_try->error);
    if (!ret_try->slots)
        return;
    ret_try->key =
        only ? try_one(unlock, only, secret, ret_try)
             : unlock_any(unlock, ret_try->slots, secret, ret_try->attempts, &ret_try->error);
    if (!ret_try->key)
        return;
    check_tag(path, bytes, ret_try);
}

const struct slot *
service_try_opener(const struct service_try *tried)
{
    for (guint i = 0; tried->slots && i < tried->attempts->len; i++) {
        const struct unlock_attempt *attempt =
            &g_array_index(tried->attempts, struct unlock_attempt, i);

        if (!attempt->problem)
            return slots_find(tried->slots, &attempt->slot);
    }
    return NULL;
}

static void
log_attempts(const struct service_try *tried)
{
    for (guint i = 0; i < tried->attempts->len; i++) {
        const struct unlock_attempt *attempt =
            &g_array_index(tried->attempts, struct unlock_attempt, i);
        const struct slot *slot = slots_find(tried->slots, &attempt->slot);
        g_autofree char *name = slot ? slot_describe(slot) : NULL;

        if (slot && attempt->problem)
            log_warn("the master key is not unlocked by its %s: %s", name, attempt->problem);
    }
}

static struct unlock_attempt *
find_attempt(const GArray *attempts, const struct uuid *slot)
{
    for (guint i = 0; i < attempts->len; i++) {
        struct unlock_attempt *attempt = &g_array_index(attempts, struct unlock_attempt, i);

        if (uuid_equal(&attempt->slot, slot))
            return attempt;
    }
    return NULL;
}

/* Attempts of slots that are not there any more go. */
static void
merge_attempts(struct service_slots *slots, const GArray *from)
{
    for (guint i = slots->attempts->len; i > 0; i--) {
        const struct unlock_attempt *attempt =
            &g_array_index(slots->attempts, struct unlock_attempt, i - 1);

        if (!slots->slots || !slots_find(slots->slots, &attempt->slot))
            g_array_remove_index(slots->attempts, i - 1);
    }
    for (guint i = 0; i < from->len; i++) {
        const struct unlock_attempt *attempt = &g_array_index(from, struct unlock_attempt, i);
        struct unlock_attempt *known = find_attempt(slots->attempts, &attempt->slot);
        const struct unlock_attempt copy = {attempt->slot, g_strdup(attempt->problem)};

        if (known) {
            g_free(known->problem);
            *known = copy;
        } else {
            g_array_append_val(slots->attempts, copy);
        }
    }
}

void
service_note_attempts(struct secret_service *service, const GArray *attempts)
{
    merge_attempts(&service->slots, attempts);
}

void
service_note_try(struct secret_service *service, struct service_try *tried)
{
    struct service_slots *slots = &service->slots;
    /* What is in memory was good when it was read. */
    bool is_worse = service->master_key && slots->slots && !slots->problem && tried->problem;

    log_attempts(tried);
    /* Without a key nothing tells whose file it is; what is in use goes on. */
    if (tried->slots && (tried->key || !service->master_key) && !is_worse) {
        slots_free(slots->slots);
        slots->slots = slots_copy(tried->slots);
    }
    merge_attempts(slots, tried->attempts);
    if (is_worse)
        log_error("%s; what is in memory is good: reload the daemon, which writes it again",
                  tried->problem);
    if (!tried->key || is_worse)
        return;
    if (tried->problem && g_strcmp0(tried->problem, slots->problem) != 0)
        log_error("%s", tried->problem);
    g_free(slots->problem);
    slots->problem = g_strdup(tried->problem);
}

/* ---- keys ---- */

static struct generations *
make_generations(const struct secret_service *service, const struct service_stock *stock,
                 GError **error)
{
    const char *problem = store_owned_problem(service->store);
    struct service_census census = service_count_keys(service, stock, service->master_key);
    char uuid[UUID_TEXT_SIZE];

    if (census.others == 0 && census.legacy == 0 && problem) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "there are no key-encryption generations (%s), and guests may have values that "
                  "need some (%s): put that right first",
                  service->generations_path, problem);
        return NULL;
    }
    if (census.others == 0)
        return generations_make(service->generations_path, service->master_key, census.legacy > 0,
                                error);
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "there are no key-encryption generations (%s) although %zu sealed values need some "
              "(%s.key is the first): put that file back, with the master key that belongs to it; "
              "or move these values away if they are another host's",
              service->generations_path, census.others, uuid_format(&census.first_other, uuid));
    return NULL;
}

/* One that is damaged matters if the generations are still under it, and locks nothing else. */
static bool
take_previous_key(struct secret_service *service, GError **error)
{
    const struct service_slots *slots = &service->slots;
    g_autoptr(generations_t) without = NULL;
    g_autoptr(GError) failure = NULL;

    if (!slots->slots->has_previous)
        return true;
    service->previous_key = slots_open_previous(slots->slots, service->master_key, &failure);
    if (service->previous_key)
        return true;
    if (error_is(failure, ERROR_INVALID_SECRET))
        without = generations_open(service->generations_path, service->master_key, NULL, NULL);
    if (without) {
        log_error("%s: %s; nothing needs it any more", slots->path, failure->message);
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
take_master_key(struct secret_service *service, const struct service_stock *stock,
                struct service_try *tried, GError **error)
{
    struct service_slots *slots = &service->slots;
    const struct slot *opener = service_try_opener(tried);
    g_autofree char *name = opener ? slot_describe(opener) : NULL;
    struct slots *made = NULL;

    service_note_try(service, tried);
    if (tried->has_slots) {
        service->master_key = g_steal_pointer(&tried->key);
        if (!service->master_key) {
            g_propagate_error(error, g_steal_pointer(&tried->error));
            return false;
        }
        slots->has_opener = opener != NULL;
        if (opener)
            slots->opener = opener->id;
        log_info("the master key is unlocked by its %s", name);
        return take_previous_key(service, error);
    }
    service->master_key = service_make_slots(service, stock, &made, error);
    if (!service->master_key)
        return false;
    slots_free(slots->slots);
    slots->slots = made;
    slots->opener = ((const struct slot *)g_ptr_array_index(made->slots, 0))->id;
    slots->has_opener = true;
    return true;
}

static bool
take_keys(struct secret_service *service, const struct service_stock *stock,
          struct service_try *tried, GError **error)
{
    if (!take_master_key(service, stock, tried, error))
        return false;
    service->generations = generations_exists(service->generations_path)
                               ? generations_open(service->generations_path, service->master_key,
                                                  service->previous_key, error)
                               : make_generations(service, stock, error);
    /* Not earlier: slots that were put back may open, and what they take for left over may be the
     * key of those that go with the store. */
    if (service->generations)
        service_chores_settle(service);
    if (service->generations && service->index)
        service_index_open(service, service->previous_key,
                           service->slots.slots->flags & SLOTS_HAS_INDEX);
    return service->generations != NULL;
}

void
service_unlock(struct secret_service *service, const struct service_stock *stock,
               struct service_try *tried)
{
    g_autoptr(GError) error = NULL;

    if (take_keys(service, stock, tried, &error)) {
        g_clear_pointer(&service->locked_reason, g_free);
        return;
    }
    service_lock(service, error->message);
    log_error("the daemon is locked, and values can be neither read nor set: %s",
              service->locked_reason);
}
