/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a new master key in the slots, and the end of the one of before. Every slot is enrolled
 * anew before anything is written; then one write of the file (slots_write) is the COMMIT POINT:
 * from there on the slots open the new master key alone, and the file holds the old one under it.
 * What is under the old one is moved by service_rotate.c, which has it forgotten at last.
 */
#include <string.h>

#include "secret/service_master_work.h"
#include "util/error.h"
#include "util/log.h"

struct rotate_work {
    struct master_work work; /* first */
    bool reseal;
    GArray *answers; /* of struct master_answer */
    GArray *remove;  /* of struct uuid */
    struct master_key *next;
};

static void
clear_answer(void *element)
{
    struct master_answer *answer = element;

    g_clear_pointer(&answer->secret, secret_buf_free);
}

static void
clear_rotate(struct master_work *work)
{
    struct rotate_work *own = (struct rotate_work *)work;

    g_array_unref(own->answers);
    g_array_unref(own->remove);
    master_key_free(own->next);
}

/* ---- in the thread: what is asked ---- */

static const struct secret_buf *
find_answer(const struct rotate_work *own, const struct uuid *slot)
{
    for (guint i = 0; i < own->answers->len; i++) {
        const struct master_answer *answer = &g_array_index(own->answers, struct master_answer, i);

        if (uuid_equal(&answer->slot, slot))
            return answer->secret;
    }
    return NULL;
}

static bool
is_removed(const struct rotate_work *own, const struct uuid *slot)
{
    for (guint i = 0; i < own->remove->len; i++) {
        if (uuid_equal(&g_array_index(own->remove, struct uuid, i), slot))
            return true;
    }
    return false;
}

static bool
check_known(const struct rotate_work *own, const struct uuid *id, GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    if (slots_find(own->work.slots, id))
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
              "the master key has no slot '%s'; 'virtcrypt master status' lists them",
              uuid_format(id, uuid));
    return false;
}

static bool
check_asked(const struct rotate_work *own, GError **error)
{
    for (guint i = 0; i < own->answers->len; i++) {
        if (!check_known(own, &g_array_index(own->answers, struct master_answer, i).slot, error))
            return false;
    }
    for (guint i = 0; i < own->remove->len; i++) {
        if (!check_known(own, &g_array_index(own->remove, struct uuid, i), error))
            return false;
    }
    return true;
}

/* A file that was changed by others may say anything there. */
static bool
has_true_previous(const struct master_work *work)
{
    g_autoptr(master_key_t) previous = NULL;

    if (!work->slots->has_previous || !work->is_tampered)
        return work->slots->has_previous;
    previous = slots_open_previous(work->slots, work->master, NULL);
    return previous != NULL;
}

/* ---- in the thread: the slots ---- */

static void
prefix_slot(GError **error, const struct slot *slot)
{
    g_autofree char *name = slot_describe(slot);
    char uuid[UUID_TEXT_SIZE];

    g_prefix_error(error,
                   "nothing was changed, because the %s cannot get a new master key (put that "
                   "right, or do without it: --remove-slot %.8s): ",
                   name, uuid_format(&slot->id, uuid));
}

/* A typing error must not become the passphrase; and what others put into the file must not be
 * given a key: only who had the slot key of before could make a slot that opens. A recovery
 * passphrase is a new one, so that it opens nothing yet. */
static bool
prove_old(const struct rotate_work *own, const struct slot *slot, const struct secret_buf *secret,
          GError **error)
{
    const struct master_work *work = &own->work;
    g_autoptr(master_key_t) opened = NULL;

    if (slot->method != SLOT_PASSPHRASE && !work->is_tampered)
        return true;
    opened = unlock_slot(&work->unlock, work->slots, slot, secret, error);
    return opened != NULL;
}

static bool
renew_slot(const struct rotate_work *own, const struct slot *slot, struct slots *next,
           GError **error)
{
    const struct unlock_method *method = unlock_method_of(slot->method);
    const struct secret_buf *secret = NULL;

    if (method && method->needs_person) {
        secret = find_answer(own, &slot->id);
        if (!secret) {
            error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                      "it needs its passphrase, which was not given");
            return false;
        }
    }
    return prove_old(own, slot, secret, error) &&
           unlock_renew_slot(&own->work.unlock, next, slot, secret, own->next, error);
}

static bool
renew_slots(const struct rotate_work *own, struct slots *next, GError **error)
{
    const GPtrArray *slots = own->work.slots->slots;

    for (guint i = 0; i < slots->len; i++) {
        const struct slot *slot = g_ptr_array_index(slots, i);

        if (g_atomic_int_get(own->work.unlock.cancel)) {
            error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_ABORTED, "the daemon ends");
            return false;
        }
        if (!is_removed(own, &slot->id) && !renew_slot(own, slot, next, error)) {
            prefix_slot(error, slot);
            return false;
        }
    }
    if (next->slots->len > 0)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
              "no slot would be left to unlock the new master key; add another one first "
              "('virtcrypt master add-slot'), or leave one out of --remove-slot");
    return false;
}

/* What methods put in place for slots that do not come to count. What they share with the slots
 * that go on counting stays: they were only to be renewed. */
static void
abandon(const struct rotate_work *own, const struct slots *next)
{
    for (guint i = 0; i < next->slots->len; i++)
        unlock_settle_abandoned(&own->work.unlock, g_ptr_array_index(next->slots, i), true);
}

static bool
write_slots(const struct rotate_work *own, struct slots *next, GError **error)
{
    if (slots_write(own->work.slots_path, next, own->next, error))
        return true;
    if (service_master_is_unwritten(&own->work, next))
        abandon(own, next);
    return false;
}

static struct slots *
make_slots(const struct rotate_work *own, GError **error)
{
    const struct slots *old = own->work.slots;
    g_autoptr(slots_t) next = slots_new(own->next);

    next->sequence = old->sequence;
    next->flags = old->flags | (own->reseal ? SLOTS_RESEAL : 0);
    if (renew_slots(own, next, error) &&
        slots_set_previous(next, own->next, own->work.master, error))
        return g_steal_pointer(&next);
    abandon(own, next);
    return NULL;
}

static void
settle_removed(const struct rotate_work *own)
{
    for (guint i = 0; i < own->remove->len; i++) {
        const struct slot *slot =
            slots_find(own->work.slots, &g_array_index(own->remove, struct uuid, i));

        unlock_settle_removed(&own->work.unlock, slot);
    }
}

static bool
run_rotate(struct master_work *work, GError **error)
{
    struct rotate_work *own = (struct rotate_work *)work;
    struct secret_buf *bytes = secret_buf_new_random(MASTER_KEY_SIZE, error);
    g_autoptr(slots_t) next = NULL;

    own->next = bytes ? master_key_new(bytes, error) : NULL;
    if (!own->next || !check_asked(own, error))
        return false;
    if (has_true_previous(work)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "%s holds the master key of before an earlier rotation, which has not ended; "
                  "reload the daemon and wait for it ('virtcrypt master status')",
                  work->slots_path);
        return false;
    }
    next = make_slots(own, error);
    if (!next || !write_slots(own, next, error))
        return false;
    settle_removed(own);
    unlock_settle(&work->unlock, next);
    slots_free(work->slots);
    work->slots = g_steal_pointer(&next);
    return true;
}

/* ---- in the loop ---- */

static bool
finish_rotate(struct master_work *work, GError **error)
{
    struct rotate_work *own = (struct rotate_work *)work;
    struct secret_service *service = work->service;

    /* Generations and index are under the old one, and go on using it. */
    service->previous_key = service->master_key;
    service->master_key = g_steal_pointer(&own->next);
    if (!slots_find(work->slots, &service->slots.opener))
        service->slots.has_opener = false;
    for (guint i = 0; i < work->slots->slots->len; i++)
        service_master_note_opened(service,
                                   &((const struct slot *)work->slots->slots->pdata[i])->id);
    service_master_take_slots(service, g_steal_pointer(&work->slots));
    log_info("the master key was replaced; everything sealed is moved to the new one");
    service_rotate_resume(service);
    return true;
}

static const struct master_work_kind rotate_kind = {
    .name = "it is being replaced",
    .needs_unlocked = true,
    .changes_slots = true,
    .takes_tampered = true,
    .run_in_thread = run_rotate,
    .finish_in_loop = finish_rotate,
    .clear = clear_rotate,
};

/* Values under the master key itself, of a store of before, would be lost with it: they have to be
 * under a generation first, as an ordinary rotation sees to. */
static bool
check_can_rotate(const struct secret_service *service, GError **error)
{
    struct secret_generation_status status;

    if (!service->previous_key &&
        (!service->generations || !generations_is_rotating(service->generations)))
        return true;
    secret_service_get_generation(service, &status);
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "values are still being moved to key-encryption generation %" G_GUINT64_FORMAT
              " (%" G_GUINT64_FORMAT " left%s%s); rotate the master key when that has ended",
              status.number, status.left, status.problem ? ": " : "",
              status.problem ? status.problem : "");
    return false;
}

static struct rotate_work *
new_work(struct secret_service *service, const struct master_rotation *rotation)
{
    struct rotate_work *own = g_new0(struct rotate_work, 1);

    own->reseal = rotation->reseal;
    own->answers = g_array_new(FALSE, FALSE, sizeof(struct master_answer));
    g_array_set_clear_func(own->answers, clear_answer);
    for (guint i = 0; rotation->answers && i < rotation->answers->len; i++) {
        struct master_answer *answer = &g_array_index(rotation->answers, struct master_answer, i);
        const struct master_answer taken = {answer->slot, g_steal_pointer(&answer->secret)};

        g_array_append_val(own->answers, taken);
    }
    own->remove = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    g_array_append_vals(own->remove, rotation->remove, (guint)rotation->remove_count);
    own->work.kind = &rotate_kind;
    own->work.service = service;
    return own;
}

void
secret_service_rotate_master(struct secret_service *service, const struct master_rotation *rotation,
                             master_done_func done, void *opaque)
{
    struct rotate_work *own = new_work(service, rotation);
    g_autoptr(GError) error = NULL;

    if (!check_can_rotate(service, &error)) {
        done(opaque, NULL, error);
        clear_rotate(&own->work);
        g_free(own);
        return;
    }
    own->work.done = done;
    own->work.opaque = opaque;
    service_master_begin(&own->work);
}

/* ---- the end of the old one ---- */

static bool
run_forget(struct master_work *work, GError **error)
{
    struct slots *slots = work->slots;

    if (!slots->has_previous)
        return true;
    slots->has_previous = false;
    slots->flags &= ~(uint32_t)SLOTS_RESEAL;
    return slots_write(work->slots_path, slots, work->master, error);
}

static bool
finish_forget(struct master_work *work, GError **error)
{
    struct secret_service *service = work->service;

    service_master_take_slots(service, g_steal_pointer(&work->slots));
    g_clear_pointer(&service->previous_key, master_key_free);
    return true;
}

static const struct master_work_kind forget_kind = {
    .name = "the one of before is being forgotten",
    .needs_unlocked = true,
    .changes_slots = true,
    .run_in_thread = run_forget,
    .finish_in_loop = finish_forget,
};

void
service_master_forget_previous(struct secret_service *service, master_done_func done, void *opaque)
{
    struct master_work *work = g_new0(struct master_work, 1);

    work->kind = &forget_kind;
    work->service = service;
    work->done = done;
    work->opaque = opaque;
    service_master_begin(work);
}
