/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as autostart.h says.
 */
#include "guest/autostart.h"

#include <errno.h>
#include <string.h>

#include "guest/autostart_note.h"
#include "guest/service_state.h"
#include "guest/survey.h"
#include "util/error.h"
#include "util/log.h"

/* Between two steps; the slow one once guests have waited for a while. */
enum { POLL_S = 2, EARLY_S = 60, SLOW_POLL_S = 15 };
enum {
    START_ROUNDS = 30, /* so often it is tried to learn whether the boot is a locked one */
    LOOK_S = 30,       /* between two looks at guests that wait */
};

struct guest_autostart {
    struct guest_service *service;
    char *path;
    GThread *thread;
    GMutex mutex; /* of all below; not held while anybody is asked */
    GCond changed;
    bool is_stopped;
    bool has_looked;  /* in this boot: what waits is known */
    bool was_locked;  /* at some time before that */
    bool has_answer;  /* of the custodian */
    bool is_unlocked; /* by the last answer */
    bool is_late;     /* another run of the daemon left guests, and the unlock was missed */
    gint64 early_until;
    gint64 next_look;
    GArray *waiting; /* of struct uuid, ascending */
};

/* ---- who waits; with the mutex held ---- */

static int
find(const struct guest_autostart *autostart, const struct uuid *guest)
{
    for (guint i = 0; i < autostart->waiting->len; i++) {
        if (uuid_equal(&g_array_index(autostart->waiting, struct uuid, i), guest))
            return (int)i;
    }
    return -1;
}

/* The file is what counts for the next run of the daemon; this one goes on without it. */
static void
save(const struct guest_autostart *autostart)
{
    g_autoptr(GError) error = NULL;

    if (!guest_autostart_note_write(autostart->path, autostart->waiting, &error))
        log_error("guests that wait for the unlock are not remembered over a restart of "
                  "virtcryptd: %s",
                  error->message);
}

/* Whether it was there. */
static bool
drop(struct guest_autostart *autostart, const struct uuid *guest)
{
    int at = find(autostart, guest);

    if (at < 0)
        return false;
    g_array_remove_index(autostart->waiting, (guint)at);
    save(autostart);
    return true;
}

/* ---- the custodian ----
 *
 * A question starts one that has ended, and keeps one from ending: it is asked once at the start,
 * and then only while guests wait. Each question has a connection of its own. */

static void
note_answer(struct guest_autostart *autostart, bool is_locked)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&autostart->mutex);

    autostart->was_locked = autostart->was_locked || is_locked;
    autostart->is_unlocked = !is_locked;
    /* While nobody looked somebody may have started a guest and shut it down again. */
    if (!autostart->has_answer && !is_locked && autostart->waiting->len > 0) {
        autostart->is_late = true;
        log_warn("%u guests that waited for the unlock are not started by themselves, since it was "
                 "while virtcryptd did not run: see 'virtcrypt guest-list'",
                 autostart->waiting->len);
    }
    autostart->has_answer = true;
}

static bool
ask(struct guest_autostart *autostart, GError **error)
{
    const struct guest_custodian *custodian = &autostart->service->custodian;
    bool is_locked;

    if (!custodian->is_locked(custodian->opaque, &is_locked, error))
        return false;
    note_answer(autostart, is_locked);
    return true;
}

/* ---- the first look in a boot ---- */

/* Guests with autostart that do not run and need a key (array of struct guest_seen *); NULL with an
 * error. The custodian is not asked if there are none that do not run. */
static GPtrArray *
look_for_guests(struct guest_service *service, GError **error)
{
    g_autoptr(GPtrArray) stopped = guest_libvirt_list_unstarted(service->libvirt, error);
    g_autoptr(guest_survey_t) survey = NULL;

    if (!stopped || stopped->len == 0)
        return g_steal_pointer(&stopped);
    survey = guest_survey_new(service, error);
    if (!survey)
        return NULL;
    for (guint i = stopped->len; i > 0; i--) {
        bool is_partial;
        const GPtrArray *references =
            guest_survey_references(survey, stopped->pdata[i - 1], &is_partial, NULL);

        if (!references || references->len == 0)
            g_ptr_array_remove_index(stopped, i - 1);
    }
    return g_steal_pointer(&stopped);
}

static void
set_waiting(struct guest_autostart *autostart, const GPtrArray *guests)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&autostart->mutex);

    for (guint i = 0; i < guests->len; i++) {
        const struct guest_seen *seen = guests->pdata[i];

        g_array_append_val(autostart->waiting, seen->uuid);
        log_warn("guest '%s' was not started at boot, since the master key is locked; it waits for "
                 "'virtcrypt master unlock'",
                 seen->name);
    }
    g_array_sort(autostart->waiting, uuid_compare_key);
    autostart->has_looked = true;
    save(autostart);
}

static void
look_first(struct guest_autostart *autostart)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) guests = look_for_guests(autostart->service, &error);

    if (!guests || (guests->len > 0 && !autostart->was_locked && !ask(autostart, &error))) {
        log_info("guests that wait for the unlock are not known yet: %s", error->message);
        return;
    }
    /* Nothing failed for want of a key: who does not run was stopped by somebody. */
    if (!autostart->was_locked)
        g_ptr_array_set_size(guests, 0);
    set_waiting(autostart, guests);
}

/* ---- afterwards ---- */

static bool
is_among(const GPtrArray *stopped, const struct uuid *guest)
{
    for (guint i = 0; i < stopped->len; i++) {
        if (uuid_equal(&((const struct guest_seen *)stopped->pdata[i])->uuid, guest))
            return true;
    }
    return false;
}

/* Those that run, are gone, or shall not autostart any more. The list of those that are left; NULL:
 * libvirt can't be asked. */
static GPtrArray *
drop_others(struct guest_autostart *autostart)
{
    g_autoptr(GPtrArray) stopped = guest_libvirt_list_unstarted(autostart->service->libvirt, NULL);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&autostart->mutex);

    if (!stopped)
        return NULL;
    for (guint i = autostart->waiting->len; i > 0; i--) {
        const struct uuid guest = g_array_index(autostart->waiting, struct uuid, i - 1);

        if (!is_among(stopped, &guest))
            drop(autostart, &guest);
    }
    return g_steal_pointer(&stopped);
}

static void
start(struct guest_autostart *autostart, const struct guest_seen *seen)
{
    g_autoptr(GError) error = NULL;
    bool is_waiting;

    g_mutex_lock(&autostart->mutex);
    is_waiting = !autostart->is_stopped && drop(autostart, &seen->uuid);
    g_mutex_unlock(&autostart->mutex);
    if (!is_waiting)
        return;
    if (guest_libvirt_start(autostart->service->libvirt, &seen->uuid, &error))
        log_warn("guest '%s' is started now that the master key is unlocked", seen->name);
    else
        log_error("guest '%s', which waited for the unlock, can't be started, and is not tried "
                  "again: %s",
                  seen->name, error->message);
}

static void
start_all(struct guest_autostart *autostart)
{
    g_autoptr(GPtrArray) stopped = drop_others(autostart);

    for (guint i = 0; stopped && i < stopped->len; i++)
        start(autostart, stopped->pdata[i]);
}

/* So that the list is right while it is waited for. */
static void
look_again(struct guest_autostart *autostart)
{
    g_autoptr(GPtrArray) stopped G_GNUC_UNUSED = drop_others(autostart);
}

/* ---- the thread ---- */

static bool
starts_by_itself(const struct guest_autostart *autostart)
{
    return autostart->service->conf->autostart_after_unlock && !autostart->is_late;
}

static void
take_first_step(struct guest_autostart *autostart, unsigned int round, gint64 now)
{
    /* Later the key may be unlocked, and nothing tell that guests had failed before. */
    if (!autostart->has_answer && round <= START_ROUNDS)
        ask(autostart, NULL);
    if (guest_service_check_libvirt(autostart->service, NULL))
        look_first(autostart);
    else
        autostart->early_until = now + EARLY_S * G_TIME_SPAN_SECOND;
}

/* Guests wait. */
static void
take_step(struct guest_autostart *autostart, gint64 now)
{
    if ((!autostart->is_unlocked || starts_by_itself(autostart)) && !ask(autostart, NULL))
        return;
    if (autostart->is_unlocked && starts_by_itself(autostart)) {
        start_all(autostart);
    } else if (now >= autostart->next_look) {
        look_again(autostart);
        autostart->next_look = now + LOOK_S * G_TIME_SPAN_SECOND;
    }
}

static bool
is_finished(const struct guest_autostart *autostart)
{
    return autostart->is_stopped || (autostart->has_looked && autostart->waiting->len == 0);
}

static void *
run(void *opaque)
{
    struct guest_autostart *autostart = opaque;

    g_mutex_lock(&autostart->mutex);
    for (unsigned int round = 1; !is_finished(autostart); round++) {
        gint64 now = g_get_monotonic_time();
        int pause_s = now < autostart->early_until ? POLL_S : SLOW_POLL_S;
        gint64 next = now + pause_s * G_TIME_SPAN_SECOND;

        g_mutex_unlock(&autostart->mutex);
        if (autostart->has_looked)
            take_step(autostart, now);
        else
            take_first_step(autostart, round, now);
        g_mutex_lock(&autostart->mutex);
        while (!is_finished(autostart) &&
               g_cond_wait_until(&autostart->changed, &autostart->mutex, next))
            continue;
    }
    g_mutex_unlock(&autostart->mutex);
    return NULL;
}

struct guest_autostart *
guest_autostart_new(struct guest_service *service, const char *path)
{
    struct guest_autostart *autostart = g_new0(struct guest_autostart, 1);
    g_autoptr(GError) error = NULL;

    autostart->service = service;
    autostart->path = g_strdup(path);
    g_mutex_init(&autostart->mutex);
    g_cond_init(&autostart->changed);
    autostart->waiting = guest_autostart_note_read(path, &error);
    /* One that can't be read was written in this boot: guests were looked for. */
    autostart->has_looked = autostart->waiting || error_get_errno(error) != ENOENT;
    if (!autostart->waiting && autostart->has_looked)
        log_error("which guests wait for the unlock is not known any more: %s", error->message);
    if (!autostart->waiting)
        autostart->waiting = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    autostart->early_until = g_get_monotonic_time() + EARLY_S * G_TIME_SPAN_SECOND;
    autostart->thread = g_thread_new("autostart", run, autostart);
    return autostart;
}

void
guest_autostart_stop(struct guest_autostart *autostart)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&autostart->mutex);

    autostart->is_stopped = true;
    g_cond_broadcast(&autostart->changed);
}

void
guest_autostart_free(struct guest_autostart *autostart)
{
    if (!autostart)
        return;
    guest_autostart_stop(autostart);
    g_thread_join(autostart->thread);
    g_array_unref(autostart->waiting);
    g_mutex_clear(&autostart->mutex);
    g_cond_clear(&autostart->changed);
    g_free(autostart->path);
    g_free(autostart);
}

void
guest_autostart_note_started(struct guest_autostart *autostart, const struct uuid *guest)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&autostart->mutex);

    if (drop(autostart, guest))
        g_cond_broadcast(&autostart->changed);
}

const char *
guest_autostart_state(struct guest_autostart *autostart, const struct uuid *guest)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&autostart->mutex);

    if (find(autostart, guest) < 0)
        return NULL;
    return autostart->is_unlocked ? "waiting for start" : "waiting for unlock";
}

GArray *
guest_autostart_list(struct guest_autostart *autostart)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&autostart->mutex);

    return g_array_copy(autostart->waiting);
}
