/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: service_master_work.h. The result comes back through an eventfd of its own instead of
 * loop_post, because it can be taken out of the loop when the service ends.
 */
#include "secret/service_master_work.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "secret/service_index.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

static void
work_free(struct master_work *work)
{
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

/* What is on disk counts, which somebody may have put back. */
static bool
read_slots(struct master_work *work, GError **error)
{
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(GError) failure = NULL;
    g_autoptr(slots_t) slots = slots_read(work->slots_path, &bytes, &failure);

    if (!slots && error_get_errno(failure) == ENOENT && work->is_tampered)
        return check_tampered(work, "it is gone, and was not when it was last read", error);
    if (!slots && error_get_errno(failure) == ENOENT && work->slots) {
        log_warn("%s is gone, and is written again from memory", work->slots_path);
        return true;
    }
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
    if (!check_tag(work, bytes, error))
        return false;
    slots_free(work->slots);
    work->slots = g_steal_pointer(&slots);
    return true;
}

static gpointer
thread_main(gpointer opaque)
{
    struct master_work *work = opaque;
    int event_fd = work->service->slots.event_fd;
    uint64_t one = 1;
    sigset_t all;

    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    if (!work->kind->changes_slots || read_slots(work, &work->error))
        work->kind->run_in_thread(work, &work->error);
    if (write(event_fd, &one, sizeof(one)) < 0)
        g_assert_not_reached();
    return NULL;
}

/* ---- in the loop ---- */

bool
service_master_is_busy(const struct secret_service *service)
{
    return service->slots.work != NULL;
}

static bool
check_can_begin(const struct master_work *work, GError **error)
{
    const struct secret_service *service = work->service;

    if (!service->store)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_UNSUPPORTED,
                  "there is no master key, because this daemon keeps nothing on disk");
    else if (service->slots.work)
        error_set(error, ERROR_FROM_SECRET, ERROR_RESOURCE_BUSY,
                  "the master key is busy (%s); try again when that has ended",
                  service->slots.work->kind->name);
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
    work->slots_path = g_strdup(service->slots.path);
    if (!work->kind->changes_slots)
        return true;
    work->slots = service->slots.slots ? slots_copy(service->slots.slots) : NULL;
    work->is_tampered = work->slots && service->slots.problem;
    work->master = copy_master(service->master_key, error);
    return work->master != NULL;
}

void
service_master_begin(struct master_work *take_work)
{
    struct master_work *work = take_work;
    struct service_slots *slots = &work->service->slots;
    g_autoptr(GError) error = NULL;

    if (check_can_begin(work, &error) && prepare(work, &error))
        work->thread = g_thread_try_new("master", thread_main, work, &error);
    if (work->thread) {
        slots->work = work;
        return;
    }
    tell(work, error);
    work_free(work);
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

void
service_master_end_work(struct secret_service *service)
{
    struct master_work *work = g_steal_pointer(&service->slots.work);
    uint64_t count;

    if (!work)
        return;
    g_thread_join(work->thread);
    if (read(service->slots.event_fd, &count, sizeof(count)) < 0)
        g_assert_not_reached();
    if (!work->error && is_still_unlocked(work, &work->error) && work->kind->finish_in_loop)
        work->kind->finish_in_loop(work, &work->error);
    tell(work, work->error);
    work_free(work);
}

/* What was done before in the same round of the loop may have taken its end, and begun other work,
 * which is not waited for. */
static void
on_event(uint32_t events, void *opaque)
{
    struct secret_service *service = opaque;
    struct pollfd poll_fd = {.fd = service->slots.event_fd, .events = POLLIN};

    if (poll(&poll_fd, 1, 0) == 1)
        service_master_end_work(service);
}

bool
service_master_open_work(struct secret_service *service, GError **error)
{
    struct service_slots *slots = &service->slots;

    slots->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (slots->event_fd < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot make an event descriptor");
        return false;
    }
    slots->watch = loop_watch_new(slots->loop, slots->event_fd, EPOLLIN, on_event, service, error);
    return slots->watch != NULL;
}

/* What it did is on disk, or is not; nobody is told. */
void
service_master_close_work(struct secret_service *service)
{
    struct service_slots *slots = &service->slots;
    struct master_work *work = g_steal_pointer(&slots->work);

    if (work) {
        g_atomic_int_set(&slots->cancel, 1);
        g_thread_join(work->thread);
        work_free(work);
    }
    g_clear_pointer(&slots->watch, loop_watch_free);
    file_fd_clear(&slots->event_fd);
}

void
secret_service_cancel_master(struct secret_service *service)
{
    g_atomic_int_set(&service->slots.cancel, 1);
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
