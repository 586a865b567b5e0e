/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: service_master_work.h.
 */
#include "secret/service_master_work.h"

#include <errno.h>
#include <string.h>

#include "secret/service_index.h"
#include "util/background.h"
#include "util/error.h"
#include "util/log.h"

void
service_master_work_free(struct master_work *work)
{
    if (!work)
        return;
    if (work->kind->clear)
        work->kind->clear(work);
    g_free(work->slots_path);
    slots_free(work->slots);
    master_key_free(work->master);
    slot_free(work->slot);
    service_try_clear(&work->tried);
    g_clear_error(&work->error);
    g_free(work);
}

static void
tell(const struct master_work *work, const GError *error)
{
    if (work->done)
        work->done(work->opaque, work->slot, error);
}

/* ---- in the thread ---- */

/* `problem`: why they are not authentic. */
static bool
check_tampered(struct master_work *work, const char *problem, GError **error)
{
    work->is_tampered = true;
    if (work->kind->takes_tampered) {
        log_warn("%s: %s; it is written anew", work->slots_path, problem);
        return true;
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "%s is not changed, because it is not as it was written (%s): put it back from a "
              "backup, or give all slots a new master key ('virtcrypt master rotate')",
              work->slots_path, problem);
    return false;
}

static bool
check_tag(struct master_work *work, GBytes *bytes, GError **error)
{
    g_autoptr(GError) failure = NULL;

    work->is_tampered = false;
    return slots_authenticate(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), work->master,
                              &failure) ||
           check_tampered(work, failure->message, error);
}

/* Gone, damaged or changed: what was good when it was read is changed and written in its place. */
static bool
use_memory(const struct master_work *work, const char *why)
{
    log_warn("%s is not used (%s), and is written again from memory", work->slots_path, why);
    return true;
}

/* What is on disk counts, which somebody may have put back. */
static bool
read_slots(struct master_work *work, GError **error)
{
    bool has_good = work->slots && !work->is_tampered;
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GError) failure = NULL;
    g_autoptr(slots_t) slots = slots_read(work->slots_path, &bytes, &failure);

    if (!slots && error_get_errno(failure) == ENOENT && work->is_tampered)
        return check_tampered(work, "it is gone, and was not when it was last read", error);
    if (!slots && has_good &&
        (error_get_errno(failure) == ENOENT || error_is(failure, ERROR_INVALID_SECRET)))
        return use_memory(work, failure->message);
    if (!slots) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (memcmp(slots->master_key_id, master_key_id(work->master), MASTER_KEY_ID_SIZE) != 0) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "%s is of another master key than the one in use: put the file back that it "
                  "took the place of",
                  work->slots_path);
        return false;
    }
    if (has_good && !slots_authenticate(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                                        work->master, &failure))
        return use_memory(work, failure->message);
    if (!has_good && !check_tag(work, bytes, error))
        return false;
    slots_free(work->slots);
    work->slots = g_steal_pointer(&slots);
    return true;
}

static void
run(void *opaque)
{
    struct master_work *work = opaque;

    if (!work->kind->changes_slots || read_slots(work, &work->error))
        work->kind->run_in_thread(work, &work->error);
}

/* ---- in the loop ---- */

bool
service_master_is_busy(const struct secret_service *service)
{
    const struct service_slots *slots = &service->slots;

    return slots->next || (slots->work && slots->work->kind->way != MASTER_GIVES_WAY);
}

static bool
gives_way(const struct master_work *under_way, const struct master_work *wanted)
{
    enum master_work_way way = under_way->kind->way;

    return way == MASTER_GIVES_WAY ||
           (way == MASTER_GIVES_WAY_TO_UNLOCK && wanted->kind->is_unlock);
}

static bool
check_can_begin(const struct master_work *work, GError **error)
{
    const struct secret_service *service = work->service;
    const struct master_work *other =
        service->slots.next ? service->slots.next : service->slots.work;

    if (!service->store)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_UNSUPPORTED,
                  "there is no master key, because this daemon keeps nothing on disk");
    else if (other && (other == service->slots.next || !gives_way(other, work)))
        error_set(error, ERROR_FROM_SECRET, ERROR_RESOURCE_BUSY,
                  "the master key is busy (%s); try again when that has ended", other->kind->name);
    else if (work->kind->needs_unlocked && !service->master_key)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key is locked (%s): run 'virtcrypt master unlock' first",
                  service->locked_reason);
    else
        return true;
    return false;
}

static struct master_key *
copy_master(const struct master_key *master, GError **error)
{
    const struct secret_buf *bytes = master_key_bytes(master);
    struct secret_buf *copy =
        secret_buf_new_from(secret_buf_bytes(bytes), secret_buf_len(bytes), error);

    return copy ? master_key_new(copy, error) : NULL;
}

static bool
prepare(struct master_work *work, GError **error)
{
    const struct secret_service *service = work->service;

    work->unlock = service->slots.unlock;
    work->unlock.cancel = &work->cancel;
    g_atomic_int_set(&work->cancel, g_atomic_int_get(&service->slots.cancel));
    work->slots_path = g_strdup(service->slots.path);
    if (!work->kind->changes_slots)
        return true;
    work->slots = service->slots.slots ? slots_copy(service->slots.slots) : NULL;
    work->is_tampered = work->slots && service->slots.problem;
    work->master = copy_master(service->master_key, error);
    return work->master != NULL;
}

static void
refuse(struct master_work *take_work, const GError *error)
{
    tell(take_work, error);
    service_master_work_free(take_work);
}

/* Nothing is under way. */
static void
start(struct master_work *take_work)
{
    struct service_slots *slots = &take_work->service->slots;
    g_autoptr(GError) error = NULL;

    if (check_can_begin(take_work, &error) && prepare(take_work, &error) &&
        background_begin(slots->background, "master", run, take_work, &error))
        slots->work = take_work;
    else
        refuse(take_work, error);
}

void
service_master_begin(struct master_work *take_work)
{
    struct service_slots *slots = &take_work->service->slots;
    g_autoptr(GError) error = NULL;

    if (!slots->work) {
        start(take_work);
    } else if (check_can_begin(take_work, &error)) {
        g_atomic_int_set(&slots->work->cancel, 1);
        slots->next = take_work;
    } else {
        refuse(take_work, error);
    }
}

/* After the end of one. */
static void
go_on(struct secret_service *service)
{
    struct service_slots *slots = &service->slots;

    if (slots->next && slots->work) /* a chore, which that end has led to */
        g_atomic_int_set(&slots->work->cancel, 1);
    else if (slots->next)
        start(g_steal_pointer(&slots->next));
    else if (!slots->work && slots->has_broken_off && g_atomic_int_get(&slots->cancel) == 0) {
        slots->has_broken_off = false;
        if (service->locked_reason)
            service_master_unlock_unattended(service);
    }
}

/* What it wrote counts at the next unlock; nothing of it fits a service without its keys. */
static bool
is_still_unlocked(const struct master_work *work, GError **error)
{
    const struct secret_service *service = work->service;

    if (!work->kind->needs_unlocked || service->master_key)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "the change was made, but the master key was locked meanwhile (%s)",
              service->locked_reason);
    return false;
}

static void
on_end(void *opaque)
{
    struct secret_service *service = opaque;
    struct master_work *work = g_steal_pointer(&service->slots.work);

    if (!work->error && is_still_unlocked(work, &work->error) && work->kind->finish_in_loop)
        work->kind->finish_in_loop(work, &work->error);
    tell(work, work->error);
    service_master_work_free(work);
    go_on(service);
}

bool
service_master_wait(struct secret_service *service, int timeout_ms)
{
    if (!service->slots.work)
        return true;
    if (!background_wait(service->slots.background, timeout_ms))
        return false;
    on_end(service);
    return true;
}

void
service_master_end_work(struct secret_service *service)
{
    while (service->slots.work)
        service_master_wait(service, BACKGROUND_NO_LIMIT);
}

void
service_master_end_chore(struct secret_service *service)
{
    struct master_work *work = service->slots.work;

    if (!work || work->kind->way != MASTER_GIVES_WAY)
        return;
    g_atomic_int_set(&work->cancel, 1);
    service_master_wait(service, BACKGROUND_NO_LIMIT);
}

struct master_work *
service_master_take_ended(struct secret_service *service, int timeout_ms)
{
    struct service_slots *slots = &service->slots;

    return slots->work && background_wait(slots->background, timeout_ms)
               ? g_steal_pointer(&slots->work)
               : NULL;
}

bool
service_master_open_work(struct secret_service *service, GError **error)
{
    struct service_slots *slots = &service->slots;

    slots->background = background_new(slots->loop, on_end, service, error);
    return slots->background != NULL;
}

/* What it did is on disk, or is not; nobody is told. */
void
service_master_close_work(struct secret_service *service)
{
    struct service_slots *slots = &service->slots;

    secret_service_cancel_master(service);
    if (slots->work)
        background_wait(slots->background, BACKGROUND_NO_LIMIT);
    service_master_work_free(g_steal_pointer(&slots->work));
    service_master_work_free(g_steal_pointer(&slots->next));
    g_clear_pointer(&slots->background, background_free);
}

void
secret_service_cancel_master(struct secret_service *service)
{
    struct service_slots *slots = &service->slots;

    g_atomic_int_set(&slots->cancel, 1);
    if (slots->work)
        g_atomic_int_set(&slots->work->cancel, 1);
}

bool
service_master_is_unwritten(const struct master_work *work, const struct slots *wanted)
{
    g_autoptr(slots_t) found = slots_peek(work->slots_path);

    return found && (found->sequence != wanted->sequence ||
                     memcmp(found->master_key_id, wanted->master_key_id, MASTER_KEY_ID_SIZE) != 0);
}

void
service_master_take_slots(struct secret_service *service, struct slots *take_slots)
{
    struct service_slots *slots = &service->slots;

    slots_free(slots->slots);
    slots->slots = take_slots;
    g_clear_pointer(&slots->problem, g_free);
    service_index_note_slots(service);
}
