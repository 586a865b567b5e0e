/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: watch.h.
 */
#include "guest/watch.h"

#include "guest/answer.h"
#include "util/error.h"
#include "util/log.h"

enum {
    GATHER_MS = 200,     /* from an event to its look: what belongs together comes together */
    GATHER_ALL_MS = 500, /* the same for a look at all, which costs more */
    REST_FACTOR = 4,     /* looks at all for events leave so many times as long to others */
    EVENTS_MAX = 64,     /* more guests at once are looked at with all */
    CLOCK_CHECK_S = 60,  /* the clock of deadlines may be set meanwhile */
    LOOK_BOUND_S = 300,
};

struct guest_watch {
    struct guest_watch_params params;
    GThread *thread;
    GMutex mutex;
    GCond changed;
    bool is_stopped;
    bool is_connected;
    GHashTable *guests; /* set of struct uuid: to be looked at at `guests_at` */
    gint64 guests_at;   /* monotonic, as all that follow; G_MAXINT64: no reason */
    gint64 all_at;      /* a look at all for a reason */
    gint64 interval_at;
    gint64 rest_until;    /* no look at all for events before */
    int64_t deadline;     /* seconds since 1970; 0: none */
    unsigned int asked;   /* looks at all that were waited for */
    unsigned int begun;   /* `asked` when the last look at all began */
    unsigned int done;    /* `asked` when the last look at all that has ended began */
    GError *failure;      /* of that one */
    char *logged_failure; /* the same is not logged twice in a row */
};

static gint64
after_s(unsigned int seconds)
{
    return g_get_monotonic_time() + (gint64)seconds * G_TIME_SPAN_SECOND;
}

static gint64
after_ms(unsigned int ms)
{
    return g_get_monotonic_time() + (gint64)ms * G_TIME_SPAN_MILLISECOND;
}

static bool
is_past_deadline(const struct guest_watch *watch)
{
    return watch->deadline != 0 && watch->deadline <= guest_answer_now();
}

/* ---- what is due; with the mutex held ---- */

static bool
is_all_due(const struct guest_watch *watch)
{
    gint64 now = g_get_monotonic_time();

    return watch->asked != watch->done || is_past_deadline(watch) || watch->interval_at <= now ||
           (watch->all_at <= now && watch->rest_until <= now);
}

static bool
is_due(const struct guest_watch *watch)
{
    return watch->is_connected && (is_all_due(watch) || watch->guests_at <= g_get_monotonic_time());
}

static gint64
wake_at(const struct guest_watch *watch)
{
    gint64 until = after_s(CLOCK_CHECK_S);

    if (!watch->is_connected)
        return until;
    until = MIN(until, MIN(watch->guests_at, watch->interval_at));
    until = MIN(until, MAX(watch->all_at, watch->rest_until));
    if (watch->deadline != 0) {
        gint64 left = watch->deadline - guest_answer_now();

        until = MIN(until, after_s((unsigned int)CLAMP(left, 0, CLOCK_CHECK_S)));
    }
    return until;
}

/* ---- looks; the mutex is dropped meanwhile ---- */

static bool
look(struct guest_watch *watch, const GArray *guests, int64_t *ret_look_again, GError **error)
{
    bool is_good;

    *ret_look_again = 0;
    g_mutex_unlock(&watch->mutex);
    is_good = watch->params.look(watch->params.opaque, guests, ret_look_again, error);
    g_mutex_lock(&watch->mutex);
    return is_good;
}

static void
note_deadline(struct guest_watch *watch, int64_t at)
{
    if (at != 0 && (watch->deadline == 0 || at < watch->deadline))
        watch->deadline = at;
}

static void
note_result(struct guest_watch *watch, const GError *error)
{
    if (error && g_strcmp0(error->message, watch->logged_failure) != 0)
        log_warn("guests and their keys are not fully known, and are looked at again: %s",
                 error->message);
    g_free(watch->logged_failure);
    watch->logged_failure = error ? g_strdup(error->message) : NULL;
}

static void
clear_reasons(struct guest_watch *watch)
{
    g_hash_table_remove_all(watch->guests);
    watch->guests_at = G_MAXINT64;
    watch->all_at = G_MAXINT64;
    watch->deadline = 0;
}

static void
look_at_all(struct guest_watch *watch)
{
    gint64 begin = g_get_monotonic_time();
    g_autoptr(GError) error = NULL;
    int64_t look_again;
    gint64 end;

    clear_reasons(watch);
    watch->begun = watch->asked;
    log_debug("looking at all guests");
    if (look(watch, NULL, &look_again, &error))
        watch->interval_at = after_s(watch->params.interval_s);
    else
        watch->interval_at = after_s(MIN(watch->params.retry_s, watch->params.interval_s));
    if (look_again != 0) /* never at once: that would be for ever */
        note_deadline(watch, MAX(look_again, guest_answer_now() + 1));
    note_result(watch, error);
    end = g_get_monotonic_time();
    log_debug("looked at all guests for %" G_GINT64_FORMAT " ms",
              (end - begin) / G_TIME_SPAN_MILLISECOND);
    watch->rest_until = end + (end - begin) * REST_FACTOR;
    watch->done = watch->begun;
    g_clear_error(&watch->failure);
    watch->failure = g_steal_pointer(&error);
    g_cond_broadcast(&watch->changed);
}

static void
look_at_guests(struct guest_watch *watch)
{
    g_autoptr(GArray) guests = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    g_autoptr(GError) error = NULL;
    GHashTableIter iter;
    void *guest;
    int64_t look_again;

    g_hash_table_iter_init(&iter, watch->guests);
    while (g_hash_table_iter_next(&iter, &guest, NULL))
        g_array_append_vals(guests, guest, 1);
    g_hash_table_remove_all(watch->guests);
    watch->guests_at = G_MAXINT64;
    log_debug("looking at %u guests", guests->len);
    if (!look(watch, guests, &look_again, &error))
        watch->all_at = MIN(watch->all_at, after_s(watch->params.retry_s));
    note_deadline(watch, look_again);
    if (error)
        note_result(watch, error);
}

static void *
run(void *opaque)
{
    struct guest_watch *watch = opaque;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&watch->mutex);

    while (!watch->is_stopped) {
        if (!is_due(watch))
            g_cond_wait_until(&watch->changed, &watch->mutex, wake_at(watch));
        else if (is_all_due(watch))
            look_at_all(watch);
        else
            look_at_guests(watch);
    }
    return NULL;
}

/* ---- for others ---- */

struct guest_watch *
guest_watch_new(const struct guest_watch_params *params)
{
    struct guest_watch *watch = g_new0(struct guest_watch, 1);

    watch->params = *params;
    watch->guests = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
    watch->guests_at = G_MAXINT64;
    watch->all_at = G_MAXINT64;
    watch->interval_at = G_MAXINT64;
    g_mutex_init(&watch->mutex);
    g_cond_init(&watch->changed);
    watch->thread = g_thread_new("guests", run, watch);
    return watch;
}

void
guest_watch_stop(struct guest_watch *watch)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&watch->mutex);

    watch->is_stopped = true;
    g_cond_broadcast(&watch->changed);
}

void
guest_watch_free(struct guest_watch *watch)
{
    if (!watch)
        return;
    guest_watch_stop(watch);
    g_thread_join(watch->thread);
    g_hash_table_unref(watch->guests);
    g_clear_error(&watch->failure);
    g_free(watch->logged_failure);
    g_cond_clear(&watch->changed);
    g_mutex_clear(&watch->mutex);
    g_free(watch);
}

void
guest_watch_set_connected(struct guest_watch *watch, bool is_connected)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&watch->mutex);

    watch->is_connected = is_connected;
    if (is_connected)
        watch->interval_at = g_get_monotonic_time();
    g_cond_broadcast(&watch->changed);
}

/* With the mutex held. */
static void
want_all(struct guest_watch *watch)
{
    watch->all_at = MIN(watch->all_at, after_ms(GATHER_ALL_MS));
    g_cond_broadcast(&watch->changed);
}

void
guest_watch_note_guest(struct guest_watch *watch, const struct uuid *guest)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&watch->mutex);

    if (g_hash_table_size(watch->guests) >= EVENTS_MAX) {
        g_hash_table_remove_all(watch->guests);
        watch->guests_at = G_MAXINT64;
        want_all(watch);
        return;
    }
    g_hash_table_add(watch->guests, g_memdup2(guest, sizeof(*guest)));
    watch->guests_at = MIN(watch->guests_at, after_ms(GATHER_MS));
    g_cond_broadcast(&watch->changed);
}

void
guest_watch_note_all(struct guest_watch *watch)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&watch->mutex);

    want_all(watch);
}

void
guest_watch_note_deadline(struct guest_watch *watch, int64_t at)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&watch->mutex);

    note_deadline(watch, at);
    g_cond_broadcast(&watch->changed);
}

bool
guest_watch_look_now(struct guest_watch *watch, GError **error)
{
    gint64 bound = after_s(LOOK_BOUND_S);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&watch->mutex);
    unsigned int mine = ++watch->asked;

    g_cond_broadcast(&watch->changed);
    while (watch->done < mine && watch->is_connected && !watch->is_stopped) {
        if (!g_cond_wait_until(&watch->changed, &watch->mutex, bound)) {
            error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_TIMEOUT,
                      "looking at all guests takes longer than %u s", LOOK_BOUND_S);
            return false;
        }
    }
    if (watch->done < mine) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED, "guests can't be looked at: %s",
                  watch->is_stopped ? "virtcryptd is ending" : "libvirt can't be asked");
        return false;
    }
    if (watch->failure)
        g_propagate_error(error, g_error_copy(watch->failure));
    return !watch->failure;
}
