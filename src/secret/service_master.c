/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what state the master key is in, and locking and unlocking it. Its slots are changed in
 * service_master_slots.c; the thread is in service_master_work.c.
 */
#include "secret/service_master.h"

#include <signal.h>
#include <string.h>

#include "secret/service_chores.h"
#include "secret/service_master_work.h"
#include "util/error.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(service_master, "rt_sigpending");

/* How long a start waits for slots to be tried: together with all else it is to take less than the
 * 90 s after which systemd gives a service up. */
enum { START_WAIT_MS = 45 * 1000, START_TURN_MS = 100 };

/* ---- status ---- */

static const char *
find_problem(const struct service_slots *slots, const struct uuid *slot)
{
    for (guint i = 0; i < slots->attempts->len; i++) {
        const struct unlock_attempt *attempt =
            &g_array_index(slots->attempts, struct unlock_attempt, i);

        if (uuid_equal(&attempt->slot, slot))
            return attempt->problem;
    }
    return NULL;
}

static GArray *
describe_slots(const struct secret_service *service)
{
    const struct service_slots *slots = &service->slots;
    GArray *states = g_array_new(FALSE, FALSE, sizeof(struct master_slot_state));

    for (guint i = 0; slots->slots && i < slots->slots->slots->len; i++) {
        const struct slot *slot = g_ptr_array_index(slots->slots->slots, i);
        const struct master_slot_state state = {
            .slot = slot,
            .is_opener = slots->has_opener && uuid_equal(&slot->id, &slots->opener),
            .problem = find_problem(slots, &slot->id),
        };

        g_array_append_val(states, state);
    }
    return states;
}

void
secret_service_get_master(const struct secret_service *service, struct master_status *ret_status)
{
    struct secret_generation_status generation;

    secret_service_get_generation(service, &generation);
    *ret_status = (struct master_status){
        .locked_reason = service->locked_reason,
        .slots_problem = service->slots.problem,
        .key_id = service->slots.slots ? service->slots.slots->master_key_id : NULL,
        .is_rotating = service->slots.slots && service->slots.slots->has_previous,
        .rollback = secret_service_rollback_problem(service),
        .slots = describe_slots(service),
    };
    if (ret_status->is_rotating) {
        ret_status->left = generation.left;
        ret_status->problem = generation.problem;
    }
}

void
master_status_clear(struct master_status *status)
{
    g_clear_pointer(&status->slots, g_array_unref);
}

/* ---- unlock ---- */

struct unlock_work {
    struct master_work work; /* first */
    bool has_only;
    struct uuid only;
    struct secret_buf *secret;
    const char *key_file; /* the service's, for a first start */
};

static bool
run_unlock(struct master_work *work, GError **error)
{
    const struct unlock_work *unlock = (const struct unlock_work *)work;

    service_try_slots(work->slots_path, &work->unlock, unlock->has_only ? &unlock->only : NULL,
                      unlock->secret, &work->tried);
    if (!work->tried.has_slots)
        service_look_before_first_start(unlock->key_file, &work->unlock);
    return true;
}

/* The one that `done` is told of. */
static void
note_opener(struct master_work *work)
{
    const struct service_slots *slots = &work->service->slots;
    const struct slot *opener = service_try_opener(&work->tried);

    /* A first start makes one. */
    if (!opener && slots->has_opener && slots->slots)
        opener = slots_find(slots->slots, &slots->opener);
    if (opener)
        work->slot = slot_copy(opener);
}

/* The service has its key already. */
static bool
finish_proof(struct master_work *work, GError **error)
{
    struct secret_service *service = work->service;
    struct service_try *tried = &work->tried;

    if (!tried->has_slots) {
        error_set(
            error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
            "the master key's slots (%s) are gone; reload the daemon, which writes them again",
            work->slots_path);
        return false;
    }
    if (!tried->key) {
        service_note_try(service, tried);
        g_propagate_error(error, g_steal_pointer(&tried->error));
        return false;
    }
    if (memcmp(master_key_id(tried->key), master_key_id(service->master_key), MASTER_KEY_ID_SIZE) ==
        0) {
        service_note_try(service, tried);
        return true;
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "%s is of another master key than the one in use: put the file back that it took the "
              "place of",
              work->slots_path);
    return false;
}

static bool
is_cancelled(const struct master_work *work)
{
    return g_atomic_int_get(&work->cancel) != 0;
}

static bool
finish_unlock(struct master_work *work, GError **error)
{
    struct secret_service *service = work->service;

    if (service->master_key) {
        note_opener(work);
        return finish_proof(work, error);
    }
    /* Nothing of the state is touched if a slot that was asked for did not open. */
    if (work->tried.error && (((const struct unlock_work *)work)->has_only || is_cancelled(work))) {
        service->slots.has_broken_off |= !work->kind->is_unlock;
        service_note_try(service, &work->tried);
        g_propagate_error(error, g_steal_pointer(&work->tried.error));
        return false;
    }
    service_load_unlocked(service, &work->tried);
    if (!service->locked_reason) {
        note_opener(work);
        return true;
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID, "the daemon stays locked: %s",
              service->locked_reason);
    return false;
}

static void
clear_unlock(struct master_work *work)
{
    secret_buf_free(((struct unlock_work *)work)->secret);
}

static const struct master_work_kind unlock_kind = {
    .name = "it is being unlocked",
    .is_unlock = true,
    .run_in_thread = run_unlock,
    .finish_in_loop = finish_unlock,
    .clear = clear_unlock,
};

static struct unlock_work *
new_unlock(const struct master_work_kind *kind, struct secret_service *service,
           master_done_func done, void *opaque)
{
    struct unlock_work *unlock = g_new0(struct unlock_work, 1);

    unlock->work = (struct master_work){kind, service, done, opaque};
    unlock->key_file = service->slots.key_file;
    return unlock;
}

void
secret_service_unlock(struct secret_service *service, const struct uuid *slot,
                      struct secret_buf *take_secret, master_done_func done, void *opaque)
{
    struct unlock_work *unlock = new_unlock(&unlock_kind, service, done, opaque);

    unlock->secret = take_secret;
    unlock->has_only = slot != NULL;
    if (slot)
        unlock->only = *slot;
    service_master_begin(&unlock->work);
}

/* ---- unlock, unattended ---- */

static const struct master_work_kind unattended_kind = {
    .name = "it is being unlocked",
    .way = MASTER_GIVES_WAY_TO_UNLOCK,
    .run_in_thread = run_unlock,
    .finish_in_loop = finish_unlock,
    .clear = clear_unlock,
};

/* Nobody is told: locking has logged why not. */
void
service_master_unlock_unattended(struct secret_service *service)
{
    service_master_begin(&new_unlock(&unattended_kind, service, NULL, NULL)->work);
}

/* The loop, which is told of them, does not run yet. */
static bool
is_to_end(void)
{
    sigset_t pending;

    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

bool
service_master_try_at_start(struct secret_service *service, struct service_try *ret_tried)
{
    struct master_work *work = NULL;

    service_master_unlock_unattended(service);
    if (!service->slots.work) { /* without a thread: here */
        service_try_slots(service->slots.path, &service->slots.unlock, NULL, NULL, ret_tried);
        return true;
    }
    for (int waited_ms = 0; waited_ms < START_WAIT_MS && !work && !is_to_end();
         waited_ms += START_TURN_MS)
        work = service_master_take_ended(service, START_TURN_MS);
    if (!work)
        return false;
    *ret_tried = work->tried;
    work->tried = (struct service_try){0};
    service_master_work_free(work);
    return true;
}

/* ---- lock ---- */

static bool
check_can_lock(const struct secret_service *service, GError **error)
{
    if (!service->store)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_UNSUPPORTED,
                  "there is no master key, because this daemon keeps nothing on disk");
    else if (service_master_is_busy(service))
        error_set(error, ERROR_FROM_SECRET, ERROR_RESOURCE_BUSY,
                  "the master key is busy (%s); try again when that has ended",
                  service->slots.next ? service->slots.next->kind->name
                                      : service->slots.work->kind->name);
    else
        return true;
    return false;
}

void
secret_service_lock(struct secret_service *service, master_done_func done, void *opaque)
{
    g_autoptr(GError) error = NULL;

    service_master_end_chore(service);
    if (!check_can_lock(service, &error)) {
        done(opaque, NULL, error);
        return;
    }
    if (service->master_key) {
        service_drain_changes(service);
        service_lock(service, "it was locked by 'virtcrypt master lock'");
        log_warn("the master key was locked on demand; values can be neither read nor set until "
                 "'virtcrypt master unlock'");
    }
    done(opaque, NULL, NULL);
}
