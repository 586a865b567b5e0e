/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see service_chores.h.
 */
#include "secret/service_chores.h"

#include "secret/service_master_work.h"
#include "util/error.h"
#include "util/log.h"

/* Begins it with the slots in use, or leaves it where something else is under way. */
static void
begin(struct secret_service *service, struct master_work *take_work)
{
    take_work->service = service;
    if (service->slots.work) {
        service_master_work_free(take_work);
        return;
    }
    take_work->slots = slots_copy(service->slots.slots);
    service_master_begin(take_work);
}

/* ---- settling ---- */

static bool
run_settle(struct master_work *work, GError **error)
{
    unlock_settle(&work->unlock, work->slots);
    return true;
}

static const struct master_work_kind settle_kind = {
    .name = "its slots are being tidied",
    .way = MASTER_GIVES_WAY,
    .run_in_thread = run_settle,
};

void
service_chores_settle(struct secret_service *service)
{
    struct master_work *work;

    if (!service->slots.slots || service->slots.problem)
        return;
    work = g_new0(struct master_work, 1);
    work->kind = &settle_kind;
    begin(service, work);
}

/* ---- the opener ---- */

static bool
run_check(struct master_work *work, GError **error)
{
    struct service_try *tried = &work->tried;

    tried->key = unlock_slot(&work->unlock, work->slots, work->slot, NULL, &tried->error);
    tried->attempts = unlock_attempts_new();
    unlock_attempts_add(tried->attempts, work->slot, tried->error);
    return true;
}

static bool
finish_check(struct master_work *work, GError **error)
{
    const struct service_try *tried = &work->tried;

    if (error_is(tried->error, ERROR_OPERATION_ABORTED))
        return true;
    service_note_attempts(work->service, tried->attempts);
    if (!tried->key)
        log_error("%s; the daemon goes on with the master key that it has in memory, and will be "
                  "locked at its next start, unless another slot unlocks it",
                  tried->error->message);
    return true;
}

static const struct master_work_kind check_kind = {
    .name = "the slot that opened it is being checked",
    .needs_unlocked = true,
    .way = MASTER_GIVES_WAY,
    .run_in_thread = run_check,
    .finish_in_loop = finish_check,
};

void
service_chores_check_opener(struct secret_service *service)
{
    const struct service_slots *slots = &service->slots;
    const struct slot *opener = slots->has_opener ? slots_find(slots->slots, &slots->opener) : NULL;
    struct master_work *work;

    if (!opener || (opener->method != SLOT_KEY_FILE && opener->method != SLOT_CREDENTIAL))
        return;
    work = g_new0(struct master_work, 1);
    work->kind = &check_kind;
    work->slot = slot_copy(opener);
    begin(service, work);
}

void
service_chores_wait(struct secret_service *service)
{
    const struct master_work *work = service->slots.work;

    if (work && work->kind->way == MASTER_GIVES_WAY)
        service_master_wait(service, CHORES_WAIT_MS);
}
