/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: adding, removing, testing and changing the slots of the master key. Each change is one
 * write of the file (slots_write, the commit point); what a method keeps elsewhere is settled after
 * it, and again at each start.
 */
#include <string.h>

#include "secret/service_master_work.h"
#include "util/error.h"
#include "util/log.h"

/* What a piece of work here is about. */
struct slot_work {
    struct master_work work; /* first */
    struct uuid id;          /* of the slot that there is */
    enum slot_method method; /* add, with the two below */
    char *label;
    struct fields *fields;
    struct secret_buf *secret;
    struct secret_buf *next_secret; /* change, with the two below */
    bool was_unlocked;              /* when it began, by the master key with this id */
    uint8_t master_key_id[MASTER_KEY_ID_SIZE];
};

static void
clear_slot_work(struct master_work *work)
{
    struct slot_work *own = (struct slot_work *)work;

    g_free(own->label);
    fields_free(own->fields);
    secret_buf_free(own->secret);
    secret_buf_free(own->next_secret);
}

static struct slot_work *
new_work(const struct master_work_kind *kind, struct secret_service *service, master_done_func done,
         void *opaque)
{
    struct slot_work *own = g_new0(struct slot_work, 1);

    own->work = (struct master_work){kind, service, done, opaque};
    return own;
}

static struct slot *
find_slot(const struct slots *slots, const struct uuid *id, GError **error)
{
    struct slot *slot = slots_find(slots, id);
    char uuid[UUID_TEXT_SIZE];

    if (!slot)
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
                  "the master key has no slot '%s'; 'virtcrypt master status' lists them",
                  uuid_format(id, uuid));
    return slot;
}

void
service_master_note_opened(struct secret_service *service, const struct uuid *slot)
{
    GArray *attempts = service->slots.attempts;

    for (guint i = attempts->len; i > 0; i--) {
        if (uuid_equal(&g_array_index(attempts, struct unlock_attempt, i - 1).slot, slot))
            g_array_remove_index(attempts, i - 1);
    }
}

static bool
take_written(struct master_work *work, GError **error)
{
    service_master_take_slots(work->service, g_steal_pointer(&work->slots));
    return true;
}

/* ---- add ---- */

static struct slot *
new_slot(struct slot_work *own, GError **error)
{
    g_autoptr(slot_t) slot = slot_new(own->method, own->label, error);

    if (!slot || !unlock_check_asked(own->method, own->fields, error))
        return NULL;
    fields_free(slot->fields);
    slot->fields = g_steal_pointer(&own->fields);
    return g_steal_pointer(&slot);
}

static bool
run_add(struct master_work *work, GError **error)
{
    struct slot_work *own = (struct slot_work *)work;
    struct slot *slot = new_slot(own, error);

    if (!slot)
        return false;
    own->id = slot->id;
    if (!unlock_add_slot(&work->unlock, work->slots, slot, own->secret, work->master, error))
        return false;
    work->slot = slot_copy(slots_find(work->slots, &own->id));
    if (!slots_write(work->slots_path, work->slots, work->master, error)) {
        if (service_master_is_unwritten(work, work->slots))
            unlock_settle_abandoned(&work->unlock, work->slot, false);
        return false;
    }
    unlock_settle(&work->unlock, work->slots);
    return true;
}

static bool
finish_add(struct master_work *work, GError **error)
{
    g_autofree char *name = slot_describe(work->slot);

    log_info("the master key has got a %s", name);
    return take_written(work, error);
}

static const struct master_work_kind add_kind = {
    .name = "a slot is being added",
    .needs_unlocked = true,
    .changes_slots = true,
    .run_in_thread = run_add,
    .finish_in_loop = finish_add,
    .clear = clear_slot_work,
};

void
secret_service_add_slot(struct secret_service *service, const struct master_wanted *wanted,
                        master_done_func done, void *opaque)
{
    struct slot_work *own = new_work(&add_kind, service, done, opaque);

    own->method = wanted->method;
    own->label = g_strdup(wanted->label);
    own->fields = wanted->fields;
    own->secret = wanted->secret;
    service_master_begin(&own->work);
}

/* ---- remove ---- */

/* Whether another slot opens without that one; *ret_problems says of each why not. */
static bool
another_opens(const struct slot_work *own, const struct slots *others, char **ret_problems)
{
    g_autoptr(GString) problems = g_string_new(NULL);

    for (guint i = 0; i < others->slots->len; i++) {
        const struct slot *slot = g_ptr_array_index(others->slots, i);
        const struct unlock_method *method = unlock_method_of(slot->method);
        g_autofree char *name = slot_describe(slot);
        g_autoptr(GError) error = NULL;
        g_autoptr(master_key_t) opened = NULL;

        if (g_atomic_int_get(own->work.unlock.cancel))
            break;
        if (method && method->needs_person && !own->secret) {
            g_string_append_printf(problems, "; %s: it needs its passphrase", name);
            continue;
        }
        opened = unlock_slot(&own->work.unlock, others, slot,
                             method && method->needs_person ? own->secret : NULL, &error);
        if (opened)
            return true;
        g_string_append_printf(problems, "; %s: %s", name, error->message);
    }
    *ret_problems = g_strdup(problems->len > 0 ? problems->str + 2 : "there is no other one");
    return false;
}

static bool
run_remove(struct master_work *work, GError **error)
{
    const struct slot_work *own = (const struct slot_work *)work;
    const struct slot *slot = find_slot(work->slots, &own->id, error);
    g_autofree char *problems = NULL;
    g_autofree char *name = NULL;

    if (!slot)
        return false;
    work->slot = slot_copy(slot);
    slots_remove(work->slots, &own->id);
    if (!another_opens(own, work->slots, &problems)) {
        name = slot_describe(work->slot);
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the %s is the last one that is known to work, and stays (%s); add another one "
                  "first ('virtcrypt master add-slot')",
                  name, problems);
        return false;
    }
    if (!slots_write(work->slots_path, work->slots, work->master, error))
        return false;
    unlock_settle_removed(&work->unlock, work->slot);
    return true;
}

static bool
finish_remove(struct master_work *work, GError **error)
{
    struct service_slots *slots = &work->service->slots;
    g_autofree char *name = slot_describe(work->slot);

    log_info("the %s of the master key was removed; who has its key and an old copy of the file "
             "still opens it until 'virtcrypt master rotate'",
             name);
    if (slots->has_opener && uuid_equal(&slots->opener, &work->slot->id))
        slots->has_opener = false;
    return take_written(work, error);
}

static const struct master_work_kind remove_kind = {
    .name = "a slot is being removed",
    .needs_unlocked = true,
    .changes_slots = true,
    .run_in_thread = run_remove,
    .finish_in_loop = finish_remove,
    .clear = clear_slot_work,
};

void
secret_service_remove_slot(struct secret_service *service, const struct uuid *slot,
                           struct secret_buf *take_secret, master_done_func done, void *opaque)
{
    struct slot_work *own = new_work(&remove_kind, service, done, opaque);

    own->id = *slot;
    own->secret = take_secret;
    service_master_begin(&own->work);
}

/* ---- test ---- */

static bool
run_test(struct master_work *work, GError **error)
{
    const struct slot_work *own = (const struct slot_work *)work;
    struct service_try *tried = &work->tried;
    const struct slot *slot;

    service_try_slots(work->slots_path, &work->unlock, &own->id, own->secret, tried);
    slot = tried->slots ? slots_find(tried->slots, &own->id) : NULL;
    work->slot = slot ? slot_copy(slot) : NULL;
    if (tried->key)
        return true;
    if (tried->error)
        g_propagate_error(error, g_steal_pointer(&tried->error));
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key has no slots (%s)", work->slots_path);
    return false;
}

static bool
finish_test(struct master_work *work, GError **error)
{
    service_master_note_opened(work->service, &work->slot->id);
    return true;
}

static const struct master_work_kind test_kind = {
    .name = "a slot is being tested",
    .run_in_thread = run_test,
    .finish_in_loop = finish_test,
    .clear = clear_slot_work,
};

void
secret_service_test_slot(struct secret_service *service, const struct uuid *slot,
                         struct secret_buf *take_secret, master_done_func done, void *opaque)
{
    struct slot_work *own = new_work(&test_kind, service, done, opaque);

    own->id = *slot;
    own->secret = take_secret;
    service_master_begin(&own->work);
}

/* ---- change a passphrase ---- */

/* Opens the slot with the old one, whether or not the service is locked. */
static bool
open_for_change(struct master_work *work, const struct slot_work *own, GError **error)
{
    struct service_try *tried = &work->tried;
    const struct slot *slot;
    const struct unlock_method *method;

    service_try_slots(work->slots_path, &work->unlock, &own->id, own->secret, tried);
    slot = tried->slots ? slots_find(tried->slots, &own->id) : NULL;
    if (!tried->has_slots) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key has no slots (%s)", work->slots_path);
        return false;
    }
    if (!tried->key) {
        g_propagate_error(error, g_steal_pointer(&tried->error));
        return false;
    }
    if (own->was_unlocked && !master_key_equal_id(tried->key, own->master_key_id)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "%s is of another master key than the one in use: put the file back that it "
                  "took the place of",
                  work->slots_path);
        return false;
    }
    method = slot ? unlock_method_of(slot->method) : NULL;
    if (!method || !method->needs_person) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "a %s slot has no passphrase that can be changed",
                  method ? method->name : "foreign");
        return false;
    }
    if (tried->problem) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID, "%s", tried->problem);
        return false;
    }
    work->slot = slot_copy(slot);
    return true;
}

static bool
run_change(struct master_work *work, GError **error)
{
    const struct slot_work *own = (const struct slot_work *)work;
    struct slots *slots;

    if (!open_for_change(work, own, error))
        return false;
    slots = work->tried.slots;
    if (!unlock_renew_slot(&work->unlock, slots, work->slot, own->next_secret, work->tried.key,
                           error) ||
        !slots_write(work->slots_path, slots, work->tried.key, error))
        return false;
    work->slots = g_steal_pointer(&work->tried.slots);
    return true;
}

static bool
finish_change(struct master_work *work, GError **error)
{
    g_autofree char *name = slot_describe(work->slot);

    log_info("the passphrase of the master key's %s was changed; who has the old one and an old "
             "copy of the file still opens it until 'virtcrypt master rotate'",
             name);
    service_master_note_opened(work->service, &work->slot->id);
    return take_written(work, error);
}

static const struct master_work_kind change_kind = {
    .name = "a passphrase is being changed",
    .run_in_thread = run_change,
    .finish_in_loop = finish_change,
    .clear = clear_slot_work,
};

void
secret_service_change_passphrase(struct secret_service *service, const struct uuid *slot,
                                 struct secret_buf *take_old, struct secret_buf *take_new,
                                 master_done_func done, void *opaque)
{
    struct slot_work *own = new_work(&change_kind, service, done, opaque);

    own->was_unlocked = service->master_key != NULL;
    if (own->was_unlocked)
        memcpy(own->master_key_id, master_key_id(service->master_key), MASTER_KEY_ID_SIZE);
    own->id = *slot;
    own->secret = take_old;
    own->next_secret = take_new;
    service_master_begin(&own->work);
}
