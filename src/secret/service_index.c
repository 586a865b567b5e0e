/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: when the index is written, and what is said of it.
 */
#include "secret/service_index.h"

#include "secret/service_anchor.h"
#include "secret/service_master_work.h"
#include "secret/service_state.h"
#include "secret/store_change.h"
#include "util/background.h"
#include "util/log.h"

enum { STEP_MS = 1, RETRY_S = 30 };

struct index_keeper {
    struct secret_service *service;
    struct loop *loop;
    char *path;
    unsigned int delay_s;
    struct value_index *index; /* NULL while locked */
    struct anchor *anchor;
    struct loop_timer *timer; /* of the next write, or NULL */
    char *problem;            /* of the last write */

    /* The write under way. */
    bool is_settling; /* the store brings everything to its place; `image` is NULL if it is void */
    struct value_index_image *image;
    struct background *background; /* writes it */
    GError *error;                 /* its result, when it has ended */
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

/* The file of slots says from then on that there is to be an index. It is read anew: what is on
 * disk counts. */
static bool
write_slots_flag(struct secret_service *service, GError **error)
{
    const char *path = service->slots.path;
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(slots_t) slots = slots_read(path, &bytes, error);

    if (!slots || !slots_authenticate(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                                      service->master_key, error))
        return false;
    slots->flags |= SLOTS_HAS_INDEX;
    if (!slots_write(path, slots, service->master_key, error))
        return false;
    service_master_take_slots(service, g_steal_pointer(&slots));
    return true;
}

/* Once in the life of a store, in the loop: a few milliseconds. If it does not work now it will
 * after another write. */
static void
note_in_slots(struct secret_service *service)
{
    const struct service_slots *slots = &service->slots;
    g_autoptr(GError) error = NULL;

    if (!slots->slots || slots->slots->flags & SLOTS_HAS_INDEX || slots->problem ||
        service_master_is_busy(service))
        return;
    if (!write_slots_flag(service, &error))
        log_warn("%s does not say yet that there is an index of generations: %s", slots->path,
                 error->message);
}

/* What was being written is, or is not. */
static void
end_write(struct index_keeper *keeper, const GError *error)
{
    value_index_end_image(keeper->index, g_steal_pointer(&keeper->image), !error);
    note_result(keeper, error);
    plan_write(keeper, error ? RETRY_S : keeper->delay_s);
    if (error)
        return;
    note_in_slots(keeper->service);
    service_anchor_note_written(keeper->anchor);
}

static void
write_image(void *opaque)
{
    struct index_keeper *keeper = opaque;

    value_index_image_write(keeper->image, &keeper->error);
}

static void
on_written(void *opaque)
{
    struct index_keeper *keeper = opaque;
    g_autoptr(GError) error = g_steal_pointer(&keeper->error);

    end_write(keeper, error);
}

static void
on_settled(void *opaque, const GError *error)
{
    struct index_keeper *keeper = opaque;
    g_autoptr(GError) failure = NULL;

    keeper->is_settling = false;
    if (!keeper->image)
        plan_write(keeper, keeper->delay_s);
    else if (error)
        end_write(keeper, error);
    else if (!background_begin(keeper->background, "index", write_image, keeper, &failure))
        end_write(keeper, failure);
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
    if (background_is_busy(keeper->background)) {
        background_wait(keeper->background, BACKGROUND_NO_LIMIT);
        on_written(keeper);
    }
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
service_index_new(struct secret_service *service, const struct secret_service_params *params,
                  GError **error)
{
    struct index_keeper *keeper = g_new0(struct index_keeper, 1);

    keeper->service = service;
    keeper->loop = params->loop;
    keeper->path = g_strdup(params->index_path);
    keeper->delay_s = params->index_delay;
    keeper->background = background_new(params->loop, on_written, keeper, error);
    if (keeper->background)
        keeper->anchor = service_anchor_new(service, params->loop, error);
    if (!keeper->anchor) {
        service_index_free(keeper);
        return NULL;
    }
    return keeper;
}

void
service_index_free(struct index_keeper *keeper)
{
    bool has_changed;

    if (!keeper)
        return;
    if (keeper->index) {
        stop_writes(keeper);
        has_changed = value_index_is_dirty(keeper->index);
        write_now(keeper);
        service_anchor_finish(keeper->anchor, keeper->index, has_changed);
    }
    service_anchor_free(keeper->anchor);
    loop_timer_free(keeper->timer);
    background_free(keeper->background);
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

void
service_index_note_in_audit(struct secret_service *service, const char *name, const char *reason)
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
        service_index_note_in_audit(service, "index-lost", problem);
    if (state == VALUE_INDEX_GOOD && !is_expected)
        note_in_slots(service);
    plan_write(keeper, keeper->delay_s);
    service_anchor_check(keeper->anchor);
}

bool
service_index_rekey(struct secret_service *service, GError **error)
{
    struct index_keeper *keeper = service->index;

    if (!keeper || !keeper->index)
        return true;
    stop_writes(keeper);
    if (store_checkpoint(service->store, error) &&
        value_index_rekey(keeper->index, service->master_key, error))
        return true;
    plan_write(keeper, keeper->delay_s);
    return false;
}

void
service_index_close(struct secret_service *service)
{
    struct index_keeper *keeper = service->index;
    g_autoptr(GError) error = NULL;

    if (!keeper || !keeper->index)
        return;
    stop_writes(keeper);
    /* Not earlier: the end of a write may have begun a reading. */
    service_anchor_stop(keeper->anchor);
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

struct value_index *
service_index_edit(struct secret_service *service)
{
    return service->index->index;
}

/* Instead of a write that is planned for later. */
void
service_index_write_soon(struct secret_service *service)
{
    struct index_keeper *keeper = service->index;

    g_clear_pointer(&keeper->timer, loop_timer_free);
    plan_write(keeper, 0);
}

void
service_index_note_slots(struct secret_service *service)
{
    if (service->index)
        service_anchor_check(service->index->anchor);
}

bool
service_index_is_behind(const struct secret_service *service)
{
    return service->index && service_anchor_is_behind(service->index->anchor);
}

void
service_index_accept_behind(struct secret_service *service)
{
    service_anchor_accept(service->index->anchor);
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
    if (value_index_problem(keeper->index))
        return value_index_problem(keeper->index);
    return keeper->problem ? keeper->problem : service_anchor_problem(keeper->anchor);
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
        service_index_note_in_audit(service, "accept",
                                    "the loss of the index of generations is accepted");
    value_index_accept(keeper->index);
    /* What was taken away by hand may come back. */
    value_index_prune(keeper->index, is_known, service);
    plan_write(keeper, keeper->delay_s);
}
