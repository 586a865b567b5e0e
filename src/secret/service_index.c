/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: when the index is written, and what is said of it.
 */
#include "secret/service_index.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "secret/service_state.h"
#include "secret/store_change.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

enum { STEP_MS = 1, RETRY_S = 30 };

struct index_keeper {
    struct secret_service *service;
    struct loop *loop;
    char *path;
    unsigned int delay_s;
    struct value_index *index; /* NULL while locked */
    struct loop_timer *timer;  /* of the next write, or NULL */
    char *problem;             /* of the last write */

    /* The write under way. */
    bool is_settling; /* the store brings everything to its place; `image` is NULL if it is void */
    struct value_index_image *image;
    GThread *thread; /* writes it */
    GError *error;   /* its result, when it has ended */
    file_fd event_fd;
    struct loop_watch *watch;
};

static void plan_write(struct index_keeper *keeper, unsigned int delay_s);

/* It may be the same for days. */
static void
note_result(struct index_keeper *keeper, const GError *error)
{
    if (error && g_strcmp0(keeper->problem, error->message) != 0)
        log_error("the index of generations (%s) is not written: %s; values that are put back from "
                  "an older backup may not be noticed (tried again every %d s)",
                  keeper->path, error->message, RETRY_S);
    g_free(keeper->problem);
    keeper->problem = error ? g_strdup(error->message) : NULL;
}

/* What was being written is, or is not. */
static void
end_write(struct index_keeper *keeper, const GError *error)
{
    value_index_end_image(keeper->index, g_steal_pointer(&keeper->image), !error);
    note_result(keeper, error);
    plan_write(keeper, error ? RETRY_S : keeper->delay_s);
}

static void *
write_image(void *opaque)
{
    struct index_keeper *keeper = opaque;
    const uint64_t one = 1;

    value_index_image_write(keeper->image, &keeper->error);
    /* It can't be full. */
    if (write(keeper->event_fd, &one, sizeof(one)) < 0)
        log_error("cannot tell the end of a write: %s", g_strerror(errno));
    return NULL;
}

static void
join_thread(struct index_keeper *keeper)
{
    g_autoptr(GError) error = NULL;

    g_thread_join(g_steal_pointer(&keeper->thread));
    error = g_steal_pointer(&keeper->error);
    end_write(keeper, error);
}

static void
on_written(uint32_t events, void *opaque)
{
    struct index_keeper *keeper = opaque;
    uint64_t count = 0;

    if (read(keeper->event_fd, &count, sizeof(count)) < 0)
        return;
    /* Unless somebody could not wait for this. */
    if (keeper->thread)
        join_thread(keeper);
}

static void
on_settled(void *opaque, const GError *error)
{
    struct index_keeper *keeper = opaque;

    keeper->is_settling = false;
    if (!keeper->image)
        plan_write(keeper, keeper->delay_s);
    else if (error)
        end_write(keeper, error);
    else
        keeper->thread = g_thread_new("index", write_image, keeper);
}

static void
begin_write(void *opaque)
{
    struct index_keeper *keeper = opaque;
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&keeper->timer, loop_timer_free);
    keeper->image = value_index_take_image(keeper->index, &error);
    if (!keeper->image) {
        note_result(keeper, error);
        plan_write(keeper, RETRY_S);
        return;
    }
    keeper->is_settling = true;
    store_request_checkpoint(keeper->service->store, on_settled, keeper);
}

/* Unless there is nothing to write, or a write is planned or under way. */
static void
plan_write(struct index_keeper *keeper, unsigned int delay_s)
{
    if (!keeper->index || !value_index_is_dirty(keeper->index) || keeper->timer ||
        keeper->is_settling || keeper->image)
        return;
    keeper->timer = loop_timer_new(keeper->loop, MAX(delay_s * 1000, (unsigned int)STEP_MS),
                                   begin_write, keeper);
}

/* Nothing of it is under way then. */
static void
stop_writes(struct index_keeper *keeper)
{
    if (keeper->thread)
        join_thread(keeper);
    if (keeper->image)
        value_index_end_image(keeper->index, g_steal_pointer(&keeper->image), false);
    g_clear_pointer(&keeper->timer, loop_timer_free);
}

static void
write_now(struct index_keeper *keeper)
{
    g_autoptr(GError) error = NULL;

    if (!value_index_is_dirty(keeper->index))
        return;
    value_index_flush(keeper->index, &error);
    note_result(keeper, error);
}

/* ---- its life ---- */

struct index_keeper *
service_index_new(struct secret_service *service, const struct secret_service_params *params)
{
    struct index_keeper *keeper = g_new0(struct index_keeper, 1);

    keeper->service = service;
    keeper->loop = params->loop;
    keeper->path = g_strdup(params->index_path);
    keeper->delay_s = params->index_delay;
    keeper->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    keeper->watch =
        loop_watch_new(params->loop, keeper->event_fd, EPOLLIN, on_written, keeper, NULL);
    return keeper;
}

void
service_index_free(struct index_keeper *keeper)
{
    if (!keeper)
        return;
    if (keeper->index) {
        stop_writes(keeper);
        write_now(keeper);
    }
    loop_timer_free(keeper->timer);
    loop_watch_free(keeper->watch);
    file_fd_clear(&keeper->event_fd);
    value_index_free(keeper->index);
    g_free(keeper->problem);
    g_free(keeper->path);
    g_free(keeper);
}

static void
on_audited(void *opaque, const GError *error)
{
    if (error)
        log_error("the audit has no line about the index of generations: %s", error->message);
}

/* Of no secret. */
static void
note_in_audit(struct secret_service *service, const char *name, const char *reason)
{
    const struct audit_event event = {.event = name, .reason = reason};
    g_autoptr(GError) error = NULL;
    struct store_change change = {.audit = audit_event_members(&event, &error)};

    if (change.audit && uuid_generate_random(&change.uuid, &error))
        store_submit(service->store, &change, on_audited, NULL);
    else
        on_audited(NULL, error);
    store_change_clear(&change);
}

void
service_index_open(struct secret_service *service, const struct master_key *previous,
                   bool is_expected)
{
    struct index_keeper *keeper = service->index;
    const struct value_index_params params = {keeper->path, service->master_key, previous,
                                              is_expected};
    enum value_index_state state;
    const char *problem;

    keeper->index = value_index_open(&params, &state);
    problem = value_index_problem(keeper->index);
    if (problem)
        log_error("%s", problem);
    if (state == VALUE_INDEX_MISSING || state == VALUE_INDEX_DAMAGED)
        note_in_audit(service, "index-lost", problem);
    plan_write(keeper, keeper->delay_s);
}

void
service_index_close(struct secret_service *service)
{
    struct index_keeper *keeper = service->index;
    g_autoptr(GError) error = NULL;

    if (!keeper || !keeper->index)
        return;
    stop_writes(keeper);
    if (store_checkpoint(service->store, &error))
        write_now(keeper);
    else
        note_result(keeper, error);
    g_clear_pointer(&keeper->timer, loop_timer_free);
    g_clear_pointer(&keeper->index, value_index_free);
}

/* ---- what it says ---- */

const struct value_index *
service_index_get(const struct secret_service *service)
{
    return service->index ? service->index->index : NULL;
}

uint64_t
service_index_floor(const struct secret_service *service, const struct uuid *uuid)
{
    const struct value_index *index = service_index_get(service);

    return index ? value_index_floor(index, uuid) : 0;
}

const char *
secret_service_rollback_problem(const struct secret_service *service)
{
    const struct index_keeper *keeper = service->index;

    if (!keeper || !keeper->index)
        return NULL;
    return value_index_problem(keeper->index) ? value_index_problem(keeper->index)
                                              : keeper->problem;
}

static bool
is_stored(const struct secret_service *service, const struct secret *secret)
{
    return secret->value.sealed && secret->value.is_stored && service_keeps(service, secret->def);
}

void
service_index_follow(struct secret_service *service, const struct uuid *uuid, bool is_removed)
{
    struct index_keeper *keeper = service->index;
    const struct secret *secret = registry_find(service->registry, uuid);

    if (!keeper || !keeper->index)
        return;
    if (secret && is_stored(service, secret))
        value_index_raise(keeper->index, uuid, secret->value.generation);
    else if (is_removed)
        value_index_remove(keeper->index, uuid);
    plan_write(keeper, keeper->delay_s);
}

static bool
follow(const struct secret *secret, void *opaque)
{
    struct secret_service *service = opaque;

    if (is_stored(service, secret))
        value_index_raise(service->index->index, &secret->def->uuid, secret->value.generation);
    return true;
}

void
service_index_follow_all(struct secret_service *service)
{
    if (!service_index_get(service))
        return;
    registry_foreach(service->registry, follow, service);
    plan_write(service->index, service->index->delay_s);
}

/* ---- accepting ---- */

static bool
is_known(const struct uuid *uuid, void *opaque)
{
    const struct secret_service *service = opaque;

    return registry_find(service->registry, uuid) || g_hash_table_contains(service->strays, uuid);
}

void
service_index_accept(struct secret_service *service)
{
    struct index_keeper *keeper = service->index;

    if (value_index_problem(keeper->index))
        note_in_audit(service, "accept", "the loss of the index of generations is accepted");
    value_index_accept(keeper->index);
    /* What was taken away by hand may come back. */
    value_index_prune(keeper->index, is_known, service);
    plan_write(keeper, keeper->delay_s);
}
