/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reconcile_job.h.
 */
#include "guest/reconcile_job.h"

#include "guest/answer.h"
#include "guest/volume.h"
#include "util/error.h"

enum { RETRY_S = 30 };

struct guest_job *
guest_job_new(struct guest_service *service, struct guest_survey *survey, const struct uuid *guest)
{
    struct guest_job *job = g_new0(struct guest_job, 1);

    job->service = service;
    job->survey = survey;
    job->guest = *guest;
    return job;
}

void
guest_job_drop_plan(struct guest_job *job)
{
    if (job->is_planned)
        guest_plan_clear(&job->plan);
    job->is_planned = false;
}

void
guest_job_free(struct guest_job *job)
{
    if (!job)
        return;
    guest_job_drop_plan(job);
    if (job->is_locked)
        guest_service_unlock(job->service, &job->guest);
    guest_seen_free(job->found);
    guest_record_free(job->record);
    g_clear_error(&job->failure);
    g_free(job);
}

static void
look_again_at(struct guest_job *job, int64_t at)
{
    if (at != 0 && (job->look_again == 0 || at < job->look_again))
        job->look_again = at;
}

void
guest_job_fail(struct guest_job *job, GError *error)
{
    if (job->failure)
        g_error_free(error);
    else
        job->failure = error;
    look_again_at(job, guest_answer_now() + RETRY_S);
}

/* ---- what is seen ---- */

bool
guest_job_find(struct guest_job *job)
{
    GError *error = NULL;

    guest_survey_forget(job->survey, &job->guest);
    g_clear_pointer(&job->found, guest_seen_free);
    job->found = guest_libvirt_find(job->service->libvirt, &job->guest, &error);
    job->seen = job->found;
    if (error && !error_is(error, ERROR_NO_DOMAIN)) {
        guest_job_fail(job, error);
        return false;
    }
    g_clear_error(&error);
    job->is_fresh = true;
    return true;
}

/* ---- what is kept ---- */

static bool
recover(struct guest_job *job, GError **error)
{
    int64_t look_again = 0;
    bool is_good;

    if (job->record->state == GUEST_STATE_DEFINING) {
        is_good = guest_define_recover(job->service, job->record, job->seen, error);
    } else {
        is_good = guest_migrate_recover(job->service, job->record, job->seen, &look_again, error);
        look_again_at(job, look_again);
    }
    return is_good;
}

static bool
is_under_way(const struct guest_record *record)
{
    return record->state == GUEST_STATE_DEFINING || record->state == GUEST_STATE_ARRIVING ||
           record->state == GUEST_STATE_LEAVING;
}

static bool
read_record(struct guest_job *job, GError **error)
{
    GError *failure = NULL;

    g_clear_pointer(&job->record, guest_record_free);
    job->record = guest_records_get(job->service->records, &job->guest, &failure);
    if (failure)
        g_propagate_error(error, failure);
    return !failure;
}

/* What an operation left is not decided with an old answer. */
static bool
take_record(struct guest_job *job)
{
    GError *error = NULL;

    if (!read_record(job, &error)) {
        guest_job_fail(job, error);
        return false;
    }
    if (!job->record || !is_under_way(job->record))
        return true;
    if (!job->is_fresh && !guest_job_find(job))
        return false;
    if (!recover(job, &error) || !read_record(job, &error)) {
        guest_job_fail(job, error);
        return false;
    }
    return true;
}

/* ---- the plan ---- */

static bool
volume_exists(void *opaque, const char *volume, const char *place)
{
    const struct guest_job *job = opaque;

    return guest_volume_exists(job->service->storage, volume, place);
}

static char *
find_place(void *opaque, const char *volume)
{
    (void)opaque;
    return guest_volume_find_place(volume);
}

static bool
leaves_volume(void *opaque, const struct guest_key *key, const char *volume)
{
    const struct guest_job *job = opaque;

    return guest_volume_leaves(job->service->storage, key, volume);
}

static unsigned int
count_other_owners(void *opaque, const struct uuid *secret)
{
    const struct guest_job *job = opaque;

    return guest_survey_count_other_owners(job->survey, secret, &job->guest);
}

static bool
is_volume_elsewhere(void *opaque, const struct uuid *secret, const char *volume)
{
    const struct guest_job *job = opaque;

    return guest_survey_is_volume_elsewhere(job->survey, secret, volume, &job->guest);
}

static bool
is_used_elsewhere(void *opaque, const struct uuid *secret)
{
    const struct guest_job *job = opaque;

    return guest_survey_is_used_elsewhere(job->survey, secret, &job->guest);
}

static void
fill_settings(struct guest_job *job, bool is_held)
{
    const struct daemon_conf *conf = job->service->conf;

    job->input = (struct guest_plan_input){
        .guest = &job->guest,
        .uri = guest_libvirt_uri(job->service->libvirt),
        .record = job->record,
        .bound = guest_survey_owned(job->survey, &job->guest),
        .is_held = is_held,
        .now = guest_answer_now(),
        .erase_delay_undefine = conf->erase_delay_undefine,
        .erase_delay_migrated = conf->erase_delay_migrated,
        .erase_orphans = conf->erase_orphans,
        .bind_referenced = conf->bind_referenced_secrets,
        .volume_exists = volume_exists,
        .find_place = find_place,
        .leaves_volume = leaves_volume,
        .count_other_owners = count_other_owners,
        .is_volume_elsewhere = is_volume_elsewhere,
        .is_used_elsewhere = is_used_elsewhere,
        .opaque = job,
    };
}

static bool
fill_answer(struct guest_job *job, GError **error)
{
    struct guest_plan_input *input = &job->input;

    if (!job->seen) {
        input->answer = GUEST_ANSWER_ABSENT;
        input->has_migrated = guest_service_was_migrated(job->service, &job->guest);
        return guest_survey_has_definition(job->survey, &job->guest, &input->has_definition_on_disk,
                                           error);
    }
    input->answer = GUEST_ANSWER_PRESENT;
    input->is_active = job->seen->is_active;
    input->is_persistent = job->seen->is_persistent;
    input->name = job->seen->name;
    input->references = guest_survey_references(job->survey, job->seen, &input->is_partial, error);
    return input->references != NULL;
}

bool
guest_job_plan(struct guest_job *job, bool is_held)
{
    GError *error = NULL;

    guest_job_drop_plan(job);
    if (!take_record(job))
        return false;
    fill_settings(job, is_held);
    if (!fill_answer(job, &error)) {
        guest_job_fail(job, error);
        return false;
    }
    guest_plan_make(&job->input, &job->plan);
    job->is_planned = true;
    look_again_at(job, job->plan.look_again);
    return true;
}

bool
guest_job_has(const struct guest_job *job, enum guest_action_kind kind)
{
    for (guint i = 0; i < job->plan.actions->len; i++) {
        if (g_array_index(job->plan.actions, struct guest_action, i).kind == kind)
            return true;
    }
    return false;
}

bool
guest_job_is_turning(const struct guest_job *job)
{
    return job->record && job->plan.record && job->plan.record->state != job->record->state;
}

static bool
begins(const struct guest_job *job, enum guest_key_state state)
{
    const struct guest_record *planned = job->plan.record;

    for (guint i = 0; planned && i < planned->keys->len; i++) {
        const struct guest_key *key = planned->keys->pdata[i];
        const struct guest_key *old =
            job->record ? guest_record_find(job->record, &key->secret) : NULL;

        if (key->state == state && (!old || old->state != state))
            return true;
    }
    return false;
}

bool
guest_job_is_taking(const struct guest_job *job)
{
    return guest_job_has(job, GUEST_ACTION_UNBIND) || guest_job_has(job, GUEST_ACTION_ERASE) ||
           begins(job, GUEST_KEY_ORPHANED);
}

bool
guest_job_is_waiting(const struct guest_job *job)
{
    return begins(job, GUEST_KEY_WAITING);
}

/* ---- what becomes of it ---- */

void
guest_job_undo(struct guest_job *job, const struct guest_action *action, const GError *error)
{
    guest_plan_undo(&job->input, &job->plan, action);
    look_again_at(job, job->plan.look_again);
    if (error)
        guest_job_fail(job, g_error_copy(error));
}

static bool
has_new_record(const struct guest_job *job)
{
    return job->is_planned && job->plan.is_changed && job->plan.record;
}

static void
remove_record(struct guest_job *job)
{
    GError *error = NULL;

    if (job->is_planned && job->plan.is_changed && !job->plan.record && job->record &&
        !guest_records_remove(job->service->records, &job->guest, &error))
        guest_job_fail(job, error);
}

void
guest_job_put_all(struct guest_records *records, const GPtrArray *jobs)
{
    g_autoptr(GPtrArray) changed = g_ptr_array_new();
    g_autoptr(GPtrArray) errors = NULL;
    guint at = 0;

    for (guint i = 0; i < jobs->len; i++) {
        struct guest_job *job = jobs->pdata[i];

        if (has_new_record(job))
            g_ptr_array_add(changed, job->plan.record);
        else
            remove_record(job);
    }
    if (changed->len == 0)
        return;
    errors = guest_records_put_all(records, changed);
    for (guint i = 0; i < jobs->len; i++) {
        GError *error = has_new_record(jobs->pdata[i]) ? errors->pdata[at++] : NULL;

        if (error)
            guest_job_fail(jobs->pdata[i], g_error_copy(error));
    }
}
