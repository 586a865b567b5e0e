/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the order of a look. What is given to guests comes before what is taken from others, so
 * that a volume's key goes with it from guest to guest; and nothing is taken unless all guests were
 * looked at. Actions come first and records after them: a kill in between repeats actions.
 */
#include "guest/reconcile.h"

#include <string.h>

#include "guest/answer.h"
#include "guest/reconcile_job.h"
#include "guest/watch.h"
#include "util/error.h"
#include "util/log.h"

enum {
    BATCH_MAX = 1000, /* bindings a call */
    BUSY_RETRY_S = 2,
};

struct look {
    struct guest_service *service;
    struct guest_survey *survey;
    GPtrArray *jobs; /* of struct guest_job: those that have something to do */
    int64_t look_again;
    GError *failure; /* the first one that is not of one guest alone */
};

static void
free_job(void *job)
{
    guest_job_free(job);
}

static void
look_again_at(struct look *look, int64_t at)
{
    if (at != 0 && (look->look_again == 0 || at < look->look_again))
        look->look_again = at;
}

static const char *
name_of(const struct guest_job *job, char uuid[UUID_TEXT_SIZE])
{
    if (job->seen)
        return job->seen->name;
    return job->record ? job->record->name : uuid_format(&job->guest, uuid);
}

/* ---- keys are given ---- */

struct wish {
    struct guest_job *job;
    struct guest_action action;
};

/* Copies: an undone action changes the plan that they are in. */
static GArray *
collect(struct guest_job *job, enum guest_action_kind kind, GArray *wishes)
{
    for (guint i = 0; job->is_planned && i < job->plan.actions->len; i++) {
        const struct wish wish = {
            .job = job,
            .action = g_array_index(job->plan.actions, struct guest_action, i),
        };

        if (wish.action.kind == kind)
            g_array_append_val(wishes, wish);
    }
    return wishes;
}

static void
end_bind(struct look *look, const struct wish *wish, const GError *error)
{
    if (!error)
        guest_survey_set_owner(look->survey, &wish->action.secret, &wish->job->guest, true);
    else /* without a value there is nothing to bind, and one more look when it has one */
        guest_job_undo(wish->job, &wish->action, error_is(error, ERROR_NO_SECRET) ? NULL : error);
}

static void
bind_batch(struct look *look, const struct wish *wishes, guint count)
{
    const struct guest_custodian *custodian = &look->service->custodian;
    g_autoptr(GArray) bindings = g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
    g_autoptr(GPtrArray) errors = NULL;
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < count; i++) {
        const struct guest_binding binding = {
            .secret = wishes[i].action.secret,
            .guest = wishes[i].job->guest,
        };

        g_array_append_val(bindings, binding);
    }
    if (!custodian->bind(custodian->opaque, bindings, &errors, &error)) {
        for (guint i = 0; i < count; i++)
            guest_job_undo(wishes[i].job, &wishes[i].action, error);
        return;
    }
    for (guint i = 0; i < count; i++)
        end_bind(look, &wishes[i], errors->pdata[i]);
}

static void
bind_all(struct look *look, GPtrArray *jobs)
{
    g_autoptr(GArray) wishes = g_array_new(FALSE, FALSE, sizeof(struct wish));

    for (guint i = 0; i < jobs->len; i++)
        collect(jobs->pdata[i], GUEST_ACTION_BIND, wishes);
    if (wishes->len == 0)
        return;
    g_mutex_lock(&look->service->owners_mutex);
    for (guint i = 0; i < wishes->len; i += BATCH_MAX)
        bind_batch(look, &g_array_index(wishes, struct wish, i), MIN(BATCH_MAX, wishes->len - i));
    g_mutex_unlock(&look->service->owners_mutex);
}

static void
bind_one(struct look *look, struct guest_job *job)
{
    g_autoptr(GPtrArray) jobs = g_ptr_array_new();

    g_ptr_array_add(jobs, job);
    bind_all(look, jobs);
}

/* ---- keys are taken ---- */

static bool
unbind(struct look *look, const struct wish *wish, GError **error)
{
    const struct guest_custodian *custodian = &look->service->custodian;
    const struct guest_binding binding = {
        .secret = wish->action.secret,
        .guest = wish->job->guest,
    };
    g_autoptr(GArray) bindings = g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
    g_autoptr(GPtrArray) errors = NULL;

    g_array_append_val(bindings, binding);
    if (!custodian->unbind(custodian->opaque, bindings, wish->action.reason, &errors, error))
        return false;
    if (errors->pdata[0] && !error_is(errors->pdata[0], ERROR_NO_SECRET)) {
        g_propagate_error(error, g_error_copy(errors->pdata[0]));
        return false;
    }
    guest_survey_set_owner(look->survey, &binding.secret, &binding.guest, false);
    return true;
}

/* The other host has the key, and the volume's record with it. */
static void
forget_volume(struct look *look, const struct wish *wish)
{
    const struct guest_record *record = wish->job->record;
    const struct guest_key *key = record ? guest_record_find(record, &wish->action.secret) : NULL;
    g_autoptr(GError) error = NULL;

    if (!key || !key->volume || !key->has_remote_copy || record->state != GUEST_STATE_MIGRATED)
        return;
    if (!storage_service_forget(look->service->storage, key->volume, &key->secret, &error))
        log_warn("the record of %s stays here, though its key has gone to another host: %s",
                 key->volume, error->message);
}

static bool
erase(struct look *look, const struct wish *wish, GError **error)
{
    const struct guest_custodian *custodian = &look->service->custodian;

    if (!custodian->erase(custodian->opaque, &wish->action.secret, &wish->job->guest,
                          wish->action.reason, error))
        return false;
    guest_survey_set_erased(look->survey, &wish->action.secret);
    forget_volume(look, wish);
    return true;
}

static void
take_one(struct look *look, const struct wish *wish)
{
    bool is_erase = wish->action.kind == GUEST_ACTION_ERASE;
    g_autoptr(GError) error = NULL;
    char secret[UUID_TEXT_SIZE];
    char guest[UUID_TEXT_SIZE];

    if (!(is_erase ? erase(look, wish, &error) : unbind(look, wish, &error))) {
        guest_job_undo(wish->job, &wish->action, error);
        return;
    }
    log_info("%s secret %s of guest '%s': %s", is_erase ? "erased" : "unbound",
             uuid_format(&wish->action.secret, secret), name_of(wish->job, guest),
             wish->action.reason);
}

/* Plans again, with what is known by now, and takes what is to be taken then. From the count of
 * owners to the removal nobody becomes an owner. */
static void
take_keys(struct look *look, struct guest_job *job)
{
    g_autoptr(GArray) wishes = g_array_new(FALSE, FALSE, sizeof(struct wish));
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = NULL;
    GError *error = NULL;

    guest_job_drop_plan(job);
    if (!guest_job_find(job) || !guest_job_plan(job, false))
        return;
    bind_one(look, job);
    guest_job_drop_plan(job);
    if (!guest_survey_catch_up(look->survey, &error)) {
        guest_job_fail(job, error);
        return;
    }
    locker = g_mutex_locker_new(&look->service->owners_mutex);
    if (!guest_survey_renew_owners(look->survey, &error)) {
        guest_job_fail(job, error);
        return;
    }
    if (!guest_job_plan(job, guest_survey_hold(look->survey) != NULL))
        return;
    collect(job, GUEST_ACTION_UNBIND, wishes);
    collect(job, GUEST_ACTION_ERASE, wishes);
    for (guint i = 0; i < wishes->len; i++)
        take_one(look, &g_array_index(wishes, struct wish, i));
    /* What could not be bound before is not bound now: the new plan has it again. */
    g_array_set_size(wishes, 0);
    collect(job, GUEST_ACTION_BIND, wishes);
    for (guint i = 0; i < wishes->len; i++)
        guest_job_undo(job, &g_array_index(wishes, struct wish, i).action, NULL);
}

/* ---- jobs ---- */

/* One guest of an event is looked at again alone. */
static void
note_busy(struct look *look, const struct uuid *guest)
{
    if (!guest_survey_all(look->survey) && look->service->watch)
        guest_watch_note_guest(look->service->watch, guest);
    else
        look_again_at(look, guest_answer_now() + BUSY_RETRY_S);
}

/* NULL: another operation is on that guest. */
static struct guest_job *
begin_job(struct look *look, const struct uuid *guest)
{
    struct guest_job *job;

    if (!guest_service_try_lock(look->service, guest)) {
        note_busy(look, guest);
        return NULL;
    }
    job = guest_job_new(look->service, look->survey, guest);
    job->is_locked = true;
    return job;
}

static void
end_job(struct look *look, struct guest_job *job)
{
    char uuid[UUID_TEXT_SIZE];

    look_again_at(look, job->look_again);
    guest_service_note_trouble(look->service, &job->guest, name_of(job, uuid), job->failure);
}

/* One that has nothing to do ends at once, and with it the lock. Takes the job. */
static void
add_job(struct look *look, struct guest_job *job)
{
    if (job->is_planned && (job->plan.is_changed || job->plan.actions->len > 0)) {
        g_ptr_array_add(look->jobs, job);
        return;
    }
    end_job(look, job);
    guest_job_free(job);
}

static void
look_at_present(struct look *look)
{
    const GPtrArray *all = guest_survey_all(look->survey);

    for (guint i = 0; i < all->len; i++) {
        const struct guest_seen *seen = all->pdata[i];
        struct guest_job *job = begin_job(look, &seen->uuid);

        if (!job)
            continue;
        job->seen = seen;
        /* A migration may have ended since the list was made: what it left is not undone. */
        if (guest_job_plan(job, false) && guest_job_is_turning(job) && !job->is_fresh) {
            guest_job_drop_plan(job);
            if (guest_job_find(job))
                guest_job_plan(job, false);
        }
        add_job(look, job);
    }
}

static bool
is_seen(const struct look *look, const struct uuid *guest)
{
    const GPtrArray *all = guest_survey_all(look->survey);
    guint low = 0;
    guint high = all->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;
        const struct guest_seen *seen = all->pdata[middle];
        int order = memcmp(&seen->uuid, guest, sizeof(*guest));

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static void
look_at_absent(struct look *look, const struct uuid *guest)
{
    struct guest_job *job = begin_job(look, guest);

    if (!job)
        return;
    if (guest_job_find(job))
        guest_job_plan(job, false);
    add_job(look, job);
}

/* Those that libvirt does not list, and that have a record or own a key. */
static void
look_at_all_absent(struct look *look)
{
    g_autoptr(GPtrArray) records = guest_records_list(look->service->records);
    g_autoptr(GArray) owners = guest_survey_list_owners(look->survey);
    g_autoptr(GHashTable) done = g_hash_table_new(uuid_hash_key, uuid_equal_key);

    for (guint i = 0; i < records->len; i++) {
        const struct guest_record *record = records->pdata[i];

        g_hash_table_add(done, (void *)&record->uuid);
        if (!is_seen(look, &record->uuid))
            look_at_absent(look, &record->uuid);
    }
    for (guint i = 0; i < owners->len; i++) {
        const struct uuid *owner = &g_array_index(owners, struct uuid, i);

        if (!is_seen(look, owner) && !g_hash_table_contains(done, owner))
            look_at_absent(look, owner);
    }
}

/* ---- looks ---- */

static void
end_jobs(struct look *look)
{
    guest_job_put_all(look->service->records, look->jobs);
    for (guint i = 0; i < look->jobs->len; i++)
        end_job(look, look->jobs->pdata[i]);
}

static void
look_at_all(struct look *look)
{
    if (!guest_survey_look_at_all(look->survey, &look->failure))
        return;
    guest_service_note_trouble_of_all(look->service, guest_survey_hold(look->survey));
    look_at_present(look);
    bind_all(look, look->jobs);
    look_at_all_absent(look);
    for (guint i = 0; i < look->jobs->len; i++) {
        struct guest_job *job = look->jobs->pdata[i];

        if (job->is_planned &&
            (guest_job_is_taking(job) || (guest_job_is_waiting(job) && !job->is_fresh)))
            take_keys(look, job);
    }
    end_jobs(look);
}

/* A plan that would take a key is made again as one that does not, and a look at all follows. */
static void
hold_back(struct look *look, struct guest_job *job)
{
    if (!job->is_planned || !guest_job_is_taking(job))
        return;
    look_again_at(look, guest_answer_now());
    guest_job_plan(job, true);
}

static void
look_at_some(struct look *look, const GArray *guests)
{
    for (guint i = 0; i < guests->len; i++) {
        struct guest_job *job = begin_job(look, &g_array_index(guests, struct uuid, i));

        if (!job)
            continue;
        if (guest_job_find(job) && guest_job_plan(job, false))
            hold_back(look, job);
        add_job(look, job);
    }
    bind_all(look, look->jobs);
    end_jobs(look);
}

static bool
look_init(struct look *look, struct guest_service *service, GError **error)
{
    *look = (struct look){.service = service};
    look->survey = guest_survey_new(service, error);
    if (!look->survey)
        return false;
    look->jobs = g_ptr_array_new_with_free_func(free_job);
    return true;
}

static bool
look_end(struct look *look, int64_t *ret_look_again, GError **error)
{
    bool is_good = !look->failure;

    *ret_look_again = look->look_again;
    g_ptr_array_unref(look->jobs);
    guest_survey_free(look->survey);
    if (look->failure)
        g_propagate_error(error, look->failure);
    return is_good;
}

bool
guest_reconcile(struct guest_service *service, const GArray *guests, int64_t *ret_look_again,
                GError **error)
{
    struct look look;

    if (!look_init(&look, service, error))
        return false;
    if (guests)
        look_at_some(&look, guests);
    else
        look_at_all(&look);
    return look_end(&look, ret_look_again, error);
}
