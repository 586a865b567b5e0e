/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: plan.h. What is not certain keeps a key: an unknown answer, a disk that can't be read, a
 * clock that was set back, a volume of which nothing is known.
 */
#include "guest/plan.h"

#include "guest/plan_text.h"
#include "util/uuid.h"

enum {
    RETRY_S = 60,
};

/* What is being planned. */
struct work {
    const struct guest_plan_input *input;
    struct guest_plan *plan;
    struct guest_record *record;
};

/* ---- small questions ---- */

static bool
is_bound(const struct guest_plan_input *input, const struct uuid *secret)
{
    for (guint i = 0; i < input->bound->len; i++) {
        if (uuid_equal(&g_array_index(input->bound, struct uuid, i), secret))
            return true;
    }
    return false;
}

static const struct guest_reference *
find_reference(const struct guest_plan_input *input, const struct uuid *secret)
{
    for (guint i = 0; i < input->references->len; i++) {
        const struct guest_reference *reference = input->references->pdata[i];

        if (uuid_equal(&reference->secret, secret))
            return reference;
    }
    return NULL;
}

/* As of the driver that owned the guest, and of libvirt's own files. */
static bool
is_absent(const struct guest_plan_input *input)
{
    return input->answer == GUEST_ANSWER_ABSENT && !input->has_definition_on_disk &&
           (!input->record || g_strcmp0(input->record->uri, input->uri) == 0);
}

/* ---- what is done ---- */

static void
look_again_at(struct guest_plan *plan, int64_t when)
{
    if (plan->look_again == 0 || when < plan->look_again)
        plan->look_again = when;
}

static void
add_action(struct work *work, enum guest_action_kind kind, const struct uuid *secret,
           const char *reason)
{
    const struct guest_action action = {
        .kind = kind,
        .secret = *secret,
        .reason = g_string_chunk_insert(work->plan->texts, reason),
    };

    g_array_append_val(work->plan->actions, action);
}

/* Takes `reason`. */
static void
set_key(struct guest_key *key, enum guest_key_state state, int64_t since, char *reason)
{
    key->state = state;
    key->since = since;
    g_free(key->reason);
    key->reason = reason;
}

static void
set_state(struct work *work, enum guest_state state)
{
    work->record->state = state;
    work->record->since = MAX(work->input->now, 0);
}

static void
begin_waiting(struct work *work, struct guest_key *key)
{
    set_key(key, GUEST_KEY_WAITING, MAX(work->input->now, 0),
            guest_plan_describe_cause(work->record));
}

/* ---- a key that is not wanted any more ---- */

static bool
has_moved(const struct work *work, const struct guest_key *key)
{
    return work->record->state == GUEST_STATE_MIGRATED && key->has_remote_copy;
}

/* When the key's time has come. A start in the future counts as now: after the clock was set back,
 * the delay is longer, never shorter. */
static int64_t
find_deadline(const struct work *work, const struct guest_key *key)
{
    const struct guest_plan_input *input = work->input;

    return MIN(key->since, input->now) +
           (has_moved(work, key) ? input->erase_delay_migrated : input->erase_delay_undefine);
}

static bool
is_gone(const struct work *work, const struct guest_key *key)
{
    return key->volume && !guest_key_has_several(key) &&
           !work->input->volume_exists(work->input->opaque, key->volume, key->place);
}

/* Takes `reason`. */
static void
set_orphaned(struct work *work, struct guest_key *key, char *reason)
{
    if (key->state == GUEST_KEY_ORPHANED)
        g_free(reason);
    else
        set_key(key, GUEST_KEY_ORPHANED, MAX(work->input->now, 0), reason);
}

static void
hold(struct work *work, struct guest_key *key)
{
    bool is_manual = work->input->erase_orphans == DAEMON_CONF_ORPHANS_MANUAL;

    set_orphaned(work, key, guest_plan_describe_hold(work->record, key, is_manual));
}

static void
erase(struct work *work, const struct guest_key *key, bool volume_is_gone)
{
    g_autofree char *cause = guest_plan_describe_cause(work->record);
    g_autofree char *reason =
        g_strconcat(cause, volume_is_gone ? ", its volume is gone" : "", NULL);

    add_action(work, GUEST_ACTION_ERASE, &key->secret, reason);
}

/* Whether only this guest's copy stands for a volume that is there: that of the other owners may be
 * deleted, or never have been one (who may define a guest names what it likes), and they would take
 * the key along. */
static bool
stands_for_volume(const struct work *work, const struct guest_key *key)
{
    const struct guest_plan_input *input = work->input;

    return key->volume && !has_moved(work, key) &&
           input->erase_orphans != DAEMON_CONF_ORPHANS_AFTER_DELAY &&
           (guest_key_has_several(key) ||
            !input->is_volume_elsewhere(input->opaque, &key->secret, key->volume)) &&
           !is_gone(work, key);
}

/* Others own it, too. True: it is taken from the guest. */
static bool
give_to_others(struct work *work, struct guest_key *key)
{
    g_autofree char *cause = guest_plan_describe_cause(work->record);

    if (!stands_for_volume(work, key)) {
        add_action(work, GUEST_ACTION_UNBIND, &key->secret, cause);
        return true;
    }
    set_orphaned(work, key,
                 g_strdup_printf("%s; held until its volume is deleted, as no other guest that "
                                 "owns the key has that volume",
                                 cause));
    return false;
}

/* The key's time has come. True: it is taken from the guest. */
static bool
give_up(struct work *work, struct guest_key *key)
{
    const struct guest_plan_input *input = work->input;
    bool volume_is_gone;

    if (input->count_other_owners(input->opaque, &key->secret) > 0)
        return give_to_others(work, key);
    /* A guest that could not be made an owner yet, or is not to be one: the key stays for it. */
    if (input->is_used_elsewhere(input->opaque, &key->secret))
        return false;
    volume_is_gone = is_gone(work, key);
    if (has_moved(work, key) || input->erase_orphans == DAEMON_CONF_ORPHANS_AFTER_DELAY ||
        (volume_is_gone && input->erase_orphans == DAEMON_CONF_ORPHANS_WHEN_VOLUME_GONE)) {
        erase(work, key, volume_is_gone);
        return true;
    }
    hold(work, key);
    return false;
}

/* WAITING or ORPHANED. True: it is taken from the guest. */
static bool
consider(struct work *work, struct guest_key *key)
{
    int64_t deadline = find_deadline(work, key);

    if (key->state == GUEST_KEY_WAITING && deadline > work->input->now) {
        look_again_at(work->plan, deadline);
        return false;
    }
    return !work->input->is_held && give_up(work, key);
}

/* Calls `keeps` for each key; those that it does not keep leave the record. */
static void
filter_keys(struct work *work, bool (*keeps)(struct work *work, struct guest_key *key))
{
    GPtrArray *keys = work->record->keys;

    for (guint i = 0; i < keys->len;) {
        if (keeps(work, keys->pdata[i]))
            i++;
        else
            g_ptr_array_remove_index(keys, i);
    }
}

/* ---- the guest is here ---- */

/* Whether a secret that it refers to, and that is not in the record, is to be its own. */
static bool
is_wanted(const struct guest_plan_input *input, const struct guest_reference *reference)
{
    if (is_bound(input, &reference->secret))
        return true;
    /* What belongs to another guest would be erased with that one. */
    return reference->has_value &&
           (reference->is_generated || (input->bind_referenced && input->is_persistent) ||
            input->count_other_owners(input->opaque, &reference->secret) > 0);
}

/* Where the volume is seen while it is used is where it has to be missed to be gone. That one of
 * several is gone says nothing of the others: then none is ever missed. */
static void
note_volume(const struct guest_plan_input *input, struct guest_key *key,
            const struct guest_reference *reference)
{
    bool has_several =
        reference->has_more_volumes ||
        (reference->volume && input->leaves_volume(input->opaque, key, reference->volume));
    char *place;

    if (reference->volume)
        guest_key_set_volume(key, reference->volume);
    place = has_several   ? g_strdup(GUEST_KEY_SEVERAL)
            : key->volume ? input->find_place(input->opaque, key->volume)
                          : NULL;
    if (place)
        guest_key_set_place(key, place);
}

static void
take_references(struct work *work)
{
    const struct guest_plan_input *input = work->input;

    for (guint i = 0; i < input->references->len; i++) {
        const struct guest_reference *reference = input->references->pdata[i];
        struct guest_key *key = guest_record_find(work->record, &reference->secret);

        if (!key && is_wanted(input, reference))
            key = guest_record_take(work->record, &reference->secret,
                                    reference->is_generated ? GUEST_KEY_GENERATED
                                                            : GUEST_KEY_REFERENCED);
        if (key)
            note_volume(input, key, reference);
    }
}

/* What the custodian says it owns though the record does not: a crash came between the two. */
static void
take_bound(struct work *work)
{
    const GArray *bound = work->input->bound;

    for (guint i = 0; i < bound->len; i++)
        guest_record_take(work->record, &g_array_index(bound, struct uuid, i), GUEST_KEY_MANUAL);
}

/* key-unbind came as far as the record. */
static void
finish_refusal(struct work *work, const struct guest_key *key)
{
    if (is_bound(work->input, &key->secret) && !work->input->is_held)
        add_action(work, GUEST_ACTION_UNBIND, &key->secret, "taken from the guest by key-unbind");
}

static bool
keeps_referenced(struct work *work, struct guest_key *key, const struct guest_reference *reference)
{
    set_key(key, GUEST_KEY_BOUND, 0, NULL);
    if (!is_bound(work->input, &key->secret) && reference->has_value)
        add_action(work, GUEST_ACTION_BIND, &key->secret, "used by the guest");
    return true;
}

static bool
keeps_present(struct work *work, struct guest_key *key)
{
    const struct guest_plan_input *input = work->input;
    const struct guest_reference *reference = find_reference(input, &key->secret);

    key->has_remote_copy = false; /* the other host's is erased when it has moved back */
    if (key->origin == GUEST_KEY_REFUSED) {
        finish_refusal(work, key);
        return true;
    }
    if (key->state == GUEST_KEY_MADE)
        set_key(key, GUEST_KEY_BOUND, 0, NULL);
    if (reference)
        return keeps_referenced(work, key, reference);
    if (input->is_partial)
        return true;
    if (!is_bound(input, &key->secret))
        return false;
    if (key->origin == GUEST_KEY_MANUAL) {
        set_key(key, GUEST_KEY_BOUND, 0, NULL);
        return true;
    }
    if (input->is_active)
        return true;
    if (key->state == GUEST_KEY_BOUND)
        begin_waiting(work, key);
    return !consider(work, key);
}

static void
set_text(char **text, const char *value)
{
    if (!value || g_strcmp0(*text, value) == 0)
        return;
    g_free(*text);
    *text = g_strdup(value);
}

/* An earlier migration's end confirms nothing of what happened since, without us. */
static void
forget_operation(struct work *work)
{
    work->record->operation = (struct uuid){0};
}

/* It is back: what was not decided then is decided anew. */
static void
cancel(struct work *work)
{
    forget_operation(work);
    set_state(work, GUEST_STATE_PRESENT);
    for (guint i = 0; i < work->record->keys->len; i++)
        set_key(work->record->keys->pdata[i], GUEST_KEY_BOUND, 0, NULL);
}

static void
plan_present(struct work *work)
{
    const struct guest_plan_input *input = work->input;

    if (!work->record) {
        work->record = guest_record_new(input->guest, input->name, input->uri);
        set_state(work, GUEST_STATE_PRESENT);
    }
    if (work->record->state == GUEST_STATE_LEAVING)
        return; /* what was sent is what the end confirms */
    if (work->record->state != GUEST_STATE_PRESENT)
        cancel(work);
    set_text(&work->record->name, input->name);
    set_text(&work->record->uri, input->uri);
    take_references(work);
    take_bound(work);
    filter_keys(work, keeps_present);
}

/* ---- the guest is gone ---- */

static bool
keeps_absent(struct work *work, struct guest_key *key)
{
    if (key->origin == GUEST_KEY_REFUSED) {
        /* Remembered as long as the guest may come back. */
        int64_t end =
            MIN(work->record->since, work->input->now) + work->input->erase_delay_undefine;

        finish_refusal(work, key);
        if (end > work->input->now)
            look_again_at(work->plan, end);
        return end > work->input->now || is_bound(work->input, &key->secret);
    }
    if (!is_bound(work->input, &key->secret))
        return false;
    if (key->state == GUEST_KEY_BOUND || key->state == GUEST_KEY_MADE)
        begin_waiting(work, key);
    return !consider(work, key);
}

/* The guest is in no record and not here: what it was, and of which driver, nobody knows. */
static void
plan_lost(struct work *work)
{
    if (work->input->bound->len == 0)
        return;
    work->record = guest_record_new(work->input->guest, "?", NULL);
    set_state(work, GUEST_STATE_UNDEFINED);
    take_bound(work);
    for (guint i = 0; i < work->record->keys->len; i++)
        set_key(
            work->record->keys->pdata[i], GUEST_KEY_ORPHANED, work->record->since,
            g_strdup("virtcryptd has no record of the guest that owns it; held until key-erase, "
                     "or until the guest is defined"));
}

/* Without us: to whom is not known, nor that its keys are there. */
static void
take_migration(struct work *work)
{
    g_clear_pointer(&work->record->peer, g_free);
    forget_operation(work);
    set_state(work, GUEST_STATE_MIGRATED);
}

static void
plan_absent(struct work *work)
{
    enum guest_state state = work->record ? work->record->state : GUEST_STATE_LAST;

    if (!work->record) {
        plan_lost(work);
        return;
    }
    if (state == GUEST_STATE_LEAVING)
        set_state(work, GUEST_STATE_MIGRATED);
    else if (work->input->has_migrated && state != GUEST_STATE_MIGRATED)
        take_migration(work);
    else if (state == GUEST_STATE_PRESENT)
        set_state(work, GUEST_STATE_UNDEFINED);
    filter_keys(work, keeps_absent);
}

/* ---- nothing is known ---- */

static bool
keeps_unknown(struct work *work, struct guest_key *key)
{
    return is_bound(work->input, &key->secret);
}

/* What is held can be erased by hand all the same, and is forgotten then. */
static void
plan_unknown(struct work *work)
{
    if (work->record && (work->record->state == GUEST_STATE_UNDEFINED ||
                         work->record->state == GUEST_STATE_MIGRATED))
        filter_keys(work, keeps_unknown);
}

/* ---- the whole ---- */

/* Whether somebody else decides what it is: an operation that has not ended. */
static bool
is_under_way(const struct guest_record *record)
{
    return record &&
           (record->state == GUEST_STATE_DEFINING || record->state == GUEST_STATE_ARRIVING);
}

static bool
is_same(const struct guest_record *a, const struct guest_record *b)
{
    g_autofree char *text = a ? guest_record_format(a) : NULL;
    g_autofree char *other = b ? guest_record_format(b) : NULL;

    return g_strcmp0(text, other) == 0;
}

static void
finish(struct work *work)
{
    struct guest_plan *plan = work->plan;
    struct guest_record *record = work->record;

    if (record && record->keys->len == 0 && record->state != GUEST_STATE_LEAVING) {
        plan->emptied = record;
        record = NULL;
    }
    plan->record = record;
    plan->is_changed = !is_same(work->input->record, record);
}

void
guest_plan_make(const struct guest_plan_input *input, struct guest_plan *ret_plan)
{
    struct work work = {.input = input, .plan = ret_plan};

    *ret_plan = (struct guest_plan){
        .actions = g_array_new(FALSE, FALSE, sizeof(struct guest_action)),
        .texts = g_string_chunk_new(256),
    };
    work.record = input->record ? guest_record_copy(input->record) : NULL;
    if (is_under_way(input->record)) {
        ret_plan->record = work.record;
        return;
    }
    if (input->answer == GUEST_ANSWER_PRESENT)
        plan_present(&work);
    else if (is_absent(input))
        plan_absent(&work);
    else
        plan_unknown(&work);
    finish(&work);
}

static void
restore_key(const struct guest_record *before, struct guest_record *record,
            const struct uuid *secret)
{
    const struct guest_key *old = before ? guest_record_find(before, secret) : NULL;
    struct guest_key *key;

    guest_record_drop(record, secret);
    if (!old)
        return;
    key = guest_record_take(record, secret, old->origin);
    key->volume = g_strdup(old->volume);
    key->place = g_strdup(old->place);
    key->has_remote_copy = old->has_remote_copy;
    set_key(key, old->state, old->since, g_strdup(old->reason));
}

void
guest_plan_undo(const struct guest_plan_input *input, struct guest_plan *plan,
                const struct guest_action *action)
{
    struct work work = {.input = input, .plan = plan};

    work.record = plan->record ? plan->record : plan->emptied;
    plan->record = NULL;
    plan->emptied = NULL;
    restore_key(input->record, work.record, &action->secret);
    finish(&work);
    look_again_at(plan, input->now + RETRY_S);
}

void
guest_plan_clear(struct guest_plan *plan)
{
    guest_record_free(plan->record);
    guest_record_free(plan->emptied);
    g_clear_pointer(&plan->actions, g_array_unref);
    g_clear_pointer(&plan->texts, g_string_chunk_free);
    plan->record = NULL;
    plan->emptied = NULL;
}
