/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: service_anchor.h. The TPM is read before each advance, so that one whose answer was lost is
 * not made twice: its counter would be ahead of the file.
 */
#include "secret/service_anchor.h"

#include <string.h>

#include "master/unlock_ask.h"
#include "secret/service_index.h"
#include "secret/service_state.h"
#include "util/background.h"
#include "util/log.h"

enum { ADVANCE_S = 600, FINISH_MS = 5000 };

#define COUNTER_FIELD "counter"

enum anchor_step {
    ANCHOR_IDLE,
    ANCHOR_READING,   /* the thread reads the TPM's counter */
    ANCHOR_WRITING,   /* the index is being written with a higher counter */
    ANCHOR_ADVANCING, /* the thread advances the TPM's */
};

struct anchor {
    struct secret_service *service;
    enum anchor_step step;
    bool is_checked; /* since the keys came */
    bool is_behind;  /* it locked the service */
    bool accepts;
    bool must_check_again;
    struct uuid slot;         /* whose counter is asked */
    uint64_t writes;          /* of the index since the TPM's counter was advanced */
    struct loop_timer *timer; /* of the next advance */
    char *problem;

    /* The thread's, while there is one. */
    struct unlock_context unlock;
    enum helper_operation operation;
    struct fields *fields;
    uint64_t counter; /* its result */
    GError *error;
    struct background *background;
};

/* ---- the TPM ---- */

static bool
ask(const struct unlock_context *unlock, enum helper_operation operation,
    const struct fields *fields, uint64_t *ret_counter, GError **error)
{
    g_auto(helper_reply_t) reply = {0};

    return unlock_ask(unlock, operation, fields, NULL, &reply, error) &&
           fields_get_number(reply.fields, COUNTER_FIELD, 0, G_MAXUINT64, ret_counter, error);
}

static void
run(void *opaque)
{
    struct anchor *anchor = opaque;

    ask(&anchor->unlock, anchor->operation, anchor->fields, &anchor->counter, &anchor->error);
}

/* ---- slots ---- */

static const char *
handle_of(const struct slot *slot)
{
    const char *handle = slot->method == SLOT_TPM2 ? fields_get(slot->fields, COUNTER_FIELD) : NULL;

    return handle && strcmp(handle, "none") != 0 ? handle : NULL;
}

/* The handle of its counter, or NULL. A later slot of the same handle was made when the TPM did not
 * have that counter any more, because it was cleared, say: what it counts now is that slot's. */
static const char *
counter_of(const struct slots *slots, const struct slot *slot)
{
    const char *handle = handle_of(slot);
    bool is_behind_it = false;

    for (guint i = 0; handle && i < slots->slots->len; i++) {
        const struct slot *other = g_ptr_array_index(slots->slots, i);

        if (is_behind_it && g_strcmp0(handle_of(other), handle) == 0)
            return NULL;
        is_behind_it |= other == slot;
    }
    return handle;
}

/* That which the index is bound to, or the first one that it can be bound to, or NULL. */
static const struct slot *
find_slot(const struct anchor *anchor)
{
    const struct slots *slots = anchor->service->slots.slots;
    const struct value_index *index = service_index_get(anchor->service);
    const struct slot *bound = slots_find(slots, value_index_anchor(index));

    if (bound && counter_of(slots, bound))
        return bound;
    for (guint i = 0; i < slots->slots->len; i++) {
        const struct slot *slot = g_ptr_array_index(slots->slots, i);

        if (counter_of(slots, slot))
            return slot;
    }
    return NULL;
}

/* ---- the steps ---- */

static void
on_timer(void *opaque)
{
    struct anchor *anchor = opaque;

    if (anchor->writes > 0)
        service_anchor_check(anchor);
}

static void
end_steps(struct anchor *anchor)
{
    anchor->step = ANCHOR_IDLE;
    if (!anchor->must_check_again)
        return;
    anchor->must_check_again = false;
    service_anchor_check(anchor);
}

/* A TPM that was cleared, or is not there, takes no value away. */
static void
note_problem(struct anchor *anchor, const char *text)
{
    if (text && g_strcmp0(text, anchor->problem) != 0)
        log_warn("the TPM's counter can't be used, so a store that was put back as a whole from a "
                 "backup may not be noticed: %s",
                 text);
    g_free(anchor->problem);
    anchor->problem = g_strdup(text);
}

static void
start_thread(struct anchor *anchor, enum anchor_step step, enum helper_operation operation)
{
    g_autoptr(GError) error = NULL;

    anchor->step = step;
    anchor->operation = operation;
    anchor->unlock = anchor->service->slots.unlock;
    if (background_begin(anchor->background, "anchor", run, anchor, &error))
        return;
    note_problem(anchor, error->message);
    end_steps(anchor);
}

static void
lock(struct anchor *anchor, uint64_t ours)
{
    struct secret_service *service = anchor->service;
    g_autofree char *reason = g_strdup_printf(
        "the store was put back from an older backup as a whole: the TPM has counted to "
        "%" G_GUINT64_FORMAT ", and the index of generations to %" G_GUINT64_FORMAT
        " only; put the newest one back, or say 'virtcrypt store accept' if this one shall count",
        anchor->counter, ours);

    anchor->step = ANCHOR_IDLE;
    anchor->is_behind = true;
    service_index_note_in_audit(service, "rollback", reason);
    service_drain_changes(service);
    service_lock(service, reason);
    log_error("the daemon is locked, and values can be neither read nor set: %s",
              service->locked_reason);
}

/* The index is to be ahead by one; then the TPM's counter follows. */
static void
raise_index(struct anchor *anchor, uint64_t counter)
{
    struct value_index *index = service_index_edit(anchor->service);

    anchor->step = ANCHOR_WRITING;
    value_index_set_anchor(index, &anchor->slot, counter);
    if (value_index_written_counter(index) == counter && !value_index_is_dirty(index))
        start_thread(anchor, ANCHOR_ADVANCING, HELPER_TPM2_NV_ADVANCE);
    else
        service_index_write_soon(anchor->service);
}

static void
end_reading(struct anchor *anchor)
{
    const struct value_index *index = service_index_get(anchor->service);
    uint64_t ours = value_index_counter(index);
    bool is_bound = uuid_equal(value_index_anchor(index), &anchor->slot);

    if (!is_bound || anchor->accepts) {
        raise_index(anchor, anchor->counter + 1);
    } else if (anchor->counter > ours) {
        lock(anchor, ours);
    } else {
        if (ours - anchor->counter > 1)
            log_warn("the TPM has counted to %" G_GUINT64_FORMAT ", and the index of generations "
                     "to %" G_GUINT64_FORMAT ": the TPM was replaced or put back",
                     anchor->counter, ours);
        /* Ahead already: it was not advanced after the last write. */
        raise_index(anchor, anchor->counter == ours ? ours + 1 : ours);
    }
}

static void
on_end(void *opaque)
{
    struct anchor *anchor = opaque;
    g_autoptr(GError) error = g_steal_pointer(&anchor->error);
    enum anchor_step step = anchor->step;

    note_problem(anchor, error ? error->message : NULL);
    if (error) {
        end_steps(anchor);
    } else if (step == ANCHOR_READING) {
        end_reading(anchor);
    } else {
        anchor->is_checked = true;
        anchor->accepts = anchor->is_behind = false;
        anchor->writes = 0;
        end_steps(anchor);
    }
}

void
service_anchor_check(struct anchor *anchor)
{
    const struct slot *slot;

    if (!service_index_get(anchor->service) || !anchor->service->slots.slots)
        return;
    if (anchor->step != ANCHOR_IDLE) {
        anchor->must_check_again = true;
        return;
    }
    slot = find_slot(anchor);
    if (!slot) {
        note_problem(anchor, NULL);
        return;
    }
    anchor->slot = slot->id;
    g_clear_pointer(&anchor->fields, fields_free);
    anchor->fields = fields_new();
    if (fields_set(anchor->fields, "handle", handle_of(slot), NULL))
        start_thread(anchor, ANCHOR_READING, HELPER_TPM2_NV_READ);
}

void
service_anchor_note_written(struct anchor *anchor)
{
    const struct value_index *index = service_index_get(anchor->service);

    anchor->writes++;
    if (anchor->step == ANCHOR_WRITING &&
        value_index_written_counter(index) == value_index_counter(index))
        start_thread(anchor, ANCHOR_ADVANCING, HELPER_TPM2_NV_ADVANCE);
}

/* ---- its life ---- */

struct anchor *
service_anchor_new(struct secret_service *service, struct loop *loop, GError **error)
{
    g_autofree struct anchor *anchor = g_new0(struct anchor, 1);

    anchor->service = service;
    anchor->background = background_new(loop, on_end, anchor, error);
    if (!anchor->background)
        return NULL;
    anchor->timer = loop_timer_new(loop, ADVANCE_S * 1000, on_timer, anchor);
    return g_steal_pointer(&anchor);
}

/* A helper is killed in time, and what it did is seen by the next reading. */
void
service_anchor_stop(struct anchor *anchor)
{
    background_wait(anchor->background, BACKGROUND_NO_LIMIT);
    g_clear_error(&anchor->error);
    anchor->step = ANCHOR_IDLE;
    anchor->must_check_again = false;
    anchor->is_checked = false;
}

void
service_anchor_free(struct anchor *anchor)
{
    if (!anchor)
        return;
    service_anchor_stop(anchor);
    loop_timer_free(anchor->timer);
    background_free(anchor->background);
    fields_free(anchor->fields);
    g_free(anchor->problem);
    g_free(anchor);
}

/* A start makes up for what is missing here. One that was not compared yet may be behind. */
void
service_anchor_finish(struct anchor *anchor, struct value_index *index, bool has_changed)
{
    struct unlock_context unlock = anchor->service->slots.unlock;
    bool is_wanted = !anchor->is_checked || anchor->writes > 0 || has_changed;
    const struct slot *slot = find_slot(anchor);
    g_autoptr(fields_t) fields = fields_new();
    uint64_t counter = 0;

    service_anchor_stop(anchor);
    unlock.timeout_ms = MIN(unlock.timeout_ms, (unsigned int)FINISH_MS);
    if (!is_wanted || !slot || !uuid_equal(&slot->id, value_index_anchor(index)) ||
        !fields_set(fields, "handle", handle_of(slot), NULL) ||
        !ask(&unlock, HELPER_TPM2_NV_READ, fields, &counter, NULL) ||
        counter > value_index_counter(index))
        return;
    if (counter == value_index_counter(index))
        value_index_set_anchor(index, &slot->id, counter + 1);
    if ((!value_index_is_dirty(index) || value_index_flush(index, NULL)) &&
        counter < value_index_written_counter(index))
        ask(&unlock, HELPER_TPM2_NV_ADVANCE, fields, &counter, NULL);
}

bool
service_anchor_is_behind(const struct anchor *anchor)
{
    return anchor->is_behind;
}

void
service_anchor_accept(struct anchor *anchor)
{
    anchor->accepts = true;
}

const char *
service_anchor_problem(const struct anchor *anchor)
{
    return anchor->problem;
}
