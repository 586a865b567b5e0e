/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the two threads of a connection. One runs libvirt's event loop; the other opens the
 * connection, closes it when it is lost, and opens it again. Opening can hang for as long as a
 * stopped libvirtd lives: only that thread hangs then.
 */
#include <string.h>

#include "guest/libvirt_state.h"
#include "util/error.h"
#include "util/log.h"

enum {
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_COUNT = 5,
    BACKOFF_MIN_S = 1,
    BACKOFF_MAX_S = 30,
    END_BOUND_MS = 2000,
    CALLS_END_BOUND_S = 10,
};

G_STATIC_ASSERT((int)ERROR_NO_DOMAIN == VIR_ERR_NO_DOMAIN);

/* ---- libvirt's event loop ---- */

static void *
run_events(void *opaque)
{
    struct guest_libvirt *libvirt = opaque;

    g_mutex_lock(&libvirt->mutex);
    while (!libvirt->is_ended || libvirt->has_connection_thread) {
        g_mutex_unlock(&libvirt->mutex);
        if (virEventRunDefaultImpl() < 0)
            g_usleep(G_TIME_SPAN_SECOND);
        g_mutex_lock(&libvirt->mutex);
    }
    libvirt->has_event_thread = false;
    g_cond_broadcast(&libvirt->changed);
    g_mutex_unlock(&libvirt->mutex);
    guest_libvirt_unref(libvirt);
    return NULL;
}

static void
on_wake(int timer, void *opaque G_GNUC_UNUSED)
{
    virEventRemoveTimeout(timer);
}

/* Makes the loop look whether it is to end. */
static void
wake_events(void)
{
    virEventAddTimeout(0, on_wake, NULL, NULL);
}

/* ---- what libvirt reports ---- */

static int
on_lifecycle(virConnectPtr conn G_GNUC_UNUSED, virDomainPtr domain, int event, int detail,
             void *opaque)
{
    bool has_moved =
        event == VIR_DOMAIN_EVENT_STOPPED && detail == VIR_DOMAIN_EVENT_STOPPED_MIGRATED;
    struct uuid uuid;

    if (virDomainGetUUID(domain, uuid.bytes) == 0)
        guest_libvirt_emit(opaque,
                           has_moved                           ? GUEST_LIBVIRT_MIGRATED
                           : event == VIR_DOMAIN_EVENT_STARTED ? GUEST_LIBVIRT_STARTED
                                                               : GUEST_LIBVIRT_CHANGED,
                           &uuid);
    return 0;
}

/* Of events without more than a domain: all that may change what it refers to. */
static void
on_change(virConnectPtr conn G_GNUC_UNUSED, virDomainPtr domain, void *opaque)
{
    struct uuid uuid;

    if (virDomainGetUUID(domain, uuid.bytes) == 0)
        guest_libvirt_emit(opaque, GUEST_LIBVIRT_CHANGED, &uuid);
}

static void
on_device(virConnectPtr conn, virDomainPtr domain, const char *alias G_GNUC_UNUSED, void *opaque)
{
    on_change(conn, domain, opaque);
}

static void
on_block_job(virConnectPtr conn, virDomainPtr domain, const char *disk G_GNUC_UNUSED,
             int type G_GNUC_UNUSED, int status G_GNUC_UNUSED, void *opaque)
{
    on_change(conn, domain, opaque);
}

static void
on_closed(virConnectPtr conn, int reason G_GNUC_UNUSED, void *opaque)
{
    struct guest_libvirt *libvirt = opaque;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&libvirt->mutex);

    if (libvirt->conn != conn)
        return;
    libvirt->is_lost = true;
    g_cond_broadcast(&libvirt->changed);
}

static void
drop_ref(void *libvirt)
{
    guest_libvirt_unref(libvirt);
}

static const struct {
    virConnectDomainEventGenericCallback func;
    int id;
    bool is_needed; /* a driver without it can't be watched */
} events[] = {
    {VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), VIR_DOMAIN_EVENT_ID_LIFECYCLE, true},
    {VIR_DOMAIN_EVENT_CALLBACK(on_device), VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, false},
    {VIR_DOMAIN_EVENT_CALLBACK(on_device), VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, false},
    {VIR_DOMAIN_EVENT_CALLBACK(on_block_job), VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, false},
};

/* ---- one connection ---- */

struct session {
    virConnectPtr conn;
    int callbacks[G_N_ELEMENTS(events)]; /* -1: none */
    bool has_close_callback;
};

static void
close_session(struct session *session)
{
    for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
        if (session->callbacks[i] >= 0)
            virConnectDomainEventDeregisterAny(session->conn, session->callbacks[i]);
    }
    if (session->has_close_callback)
        virConnectUnregisterCloseCallback(session->conn, on_closed);
    virConnectClose(session->conn);
}

static bool
register_events(struct guest_libvirt *libvirt, struct session *session)
{
    for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
        session->callbacks[i] =
            virConnectDomainEventRegisterAny(session->conn, NULL, events[i].id, events[i].func,
                                             guest_libvirt_ref(libvirt), drop_ref);
        if (session->callbacks[i] >= 0)
            continue;
        guest_libvirt_unref(libvirt);
        if (events[i].is_needed)
            return false;
    }
    return true;
}

/* Events first: what changes after the list that follows is reported. */
static bool
open_session(struct guest_libvirt *libvirt, struct session *ret_session, GError **error)
{
    struct session session = {.conn = virConnectOpen(libvirt->uri)};

    if (!session.conn) {
        guest_libvirt_set_error(error);
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(events); i++)
        session.callbacks[i] = -1;
    /* Not counted, as drivers without a connection that could close never drop it: this thread has
     * a reference until the callback is unregistered, and it does not run afterwards. */
    session.has_close_callback =
        virConnectRegisterCloseCallback(session.conn, on_closed, libvirt, NULL) == 0;
    /* Drivers inside this process (test:///) have no connection that could die. */
    if (virConnectSetKeepAlive(session.conn, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT) < 0)
        virResetLastError();
    if (!register_events(libvirt, &session)) {
        guest_libvirt_set_error(error);
        close_session(&session);
        return false;
    }
    *ret_session = session;
    return true;
}

/* ---- the thread ---- */

/* With the mutex held. */
static void
note_problem(struct guest_libvirt *libvirt, const char *problem, bool *is_logged)
{
    g_free(libvirt->problem);
    libvirt->problem = g_strdup(problem);
    if (!*is_logged)
        log_warn("guests are not watched, and no key of theirs is erased, while libvirt can't be "
                 "asked: %s (tried again until it can)",
                 problem);
    *is_logged = true;
}

/* With the mutex held. */
static void
wait_until(struct guest_libvirt *libvirt, gint64 deadline)
{
    while (!libvirt->is_ended && g_cond_wait_until(&libvirt->changed, &libvirt->mutex, deadline)) {
    }
}

/* With the mutex held. libvirt calls on_closed in whichever thread finds the end, also in one that
 * has a call under way, and takes no care that it is not unregistered at that moment. Calls on a
 * dead connection come back; as long as one does not, the connection stays behind. */
static bool
wait_for_calls(struct guest_libvirt *libvirt)
{
    gint64 deadline = g_get_monotonic_time() + CALLS_END_BOUND_S * G_TIME_SPAN_SECOND;

    while (libvirt->calls > 0) {
        if (!g_cond_wait_until(&libvirt->changed, &libvirt->mutex, deadline))
            return libvirt->calls == 0;
    }
    return true;
}

/* With the mutex held, dropped meanwhile: from the opened connection to its end. */
static void
serve(struct guest_libvirt *libvirt, struct session *session, bool *is_logged)
{
    bool can_close;

    if (*is_logged)
        log_warn("libvirt answers at '%s': guests are watched", libvirt->uri);
    *is_logged = false;
    libvirt->conn = session->conn;
    libvirt->is_lost = virConnectIsAlive(session->conn) == 0;
    g_mutex_unlock(&libvirt->mutex);
    guest_libvirt_emit(libvirt, GUEST_LIBVIRT_CONNECTED, NULL);
    g_mutex_lock(&libvirt->mutex);
    while (!libvirt->is_ended && !libvirt->is_lost)
        g_cond_wait(&libvirt->changed, &libvirt->mutex);
    libvirt->conn = NULL;
    if (!libvirt->is_ended)
        note_problem(libvirt, "the connection to libvirt was lost", is_logged);
    can_close = libvirt->is_ended || wait_for_calls(libvirt);
    g_mutex_unlock(&libvirt->mutex);
    guest_libvirt_emit(libvirt, GUEST_LIBVIRT_LOST, NULL);
    if (can_close)
        close_session(session);
    g_mutex_lock(&libvirt->mutex);
}

/* With the mutex held, dropped meanwhile. */
static bool
try_to_open(struct guest_libvirt *libvirt, struct session *ret_session, GError **error)
{
    bool is_open;

    libvirt->trying_since = g_get_monotonic_time();
    g_mutex_unlock(&libvirt->mutex);
    is_open = open_session(libvirt, ret_session, error);
    g_mutex_lock(&libvirt->mutex);
    libvirt->trying_since = 0;
    return is_open;
}

static void *
run_connection(void *opaque)
{
    struct guest_libvirt *libvirt = opaque;
    unsigned int backoff_s = BACKOFF_MIN_S;
    bool is_logged = false;

    g_mutex_lock(&libvirt->mutex);
    while (!libvirt->is_ended) {
        g_autoptr(GError) error = NULL;
        struct session session;

        if (try_to_open(libvirt, &session, &error)) {
            backoff_s = BACKOFF_MIN_S;
            serve(libvirt, &session, &is_logged);
        } else {
            note_problem(libvirt, error->message, &is_logged);
        }
        wait_until(libvirt, g_get_monotonic_time() + (gint64)backoff_s * G_TIME_SPAN_SECOND);
        backoff_s = MIN(backoff_s * 2, BACKOFF_MAX_S);
    }
    libvirt->has_connection_thread = false;
    g_cond_broadcast(&libvirt->changed);
    g_mutex_unlock(&libvirt->mutex);
    wake_events();
    guest_libvirt_unref(libvirt);
    return NULL;
}

/* ---- both ---- */

static void
be_silent(void *opaque G_GNUC_UNUSED, virErrorPtr error G_GNUC_UNUSED)
{
}

void
guest_libvirt_start_threads(struct guest_libvirt *libvirt)
{
    /* All errors come back as GErrors; libvirt would print them, too. */
    virSetErrorFunc(NULL, be_silent);
    virEventRegisterDefaultImpl();
    libvirt->has_event_thread = true;
    libvirt->has_connection_thread = true;
    g_thread_unref(g_thread_new("libvirt-events", run_events, guest_libvirt_ref(libvirt)));
    g_thread_unref(g_thread_new("libvirt", run_connection, guest_libvirt_ref(libvirt)));
}

void
guest_libvirt_end_threads(struct guest_libvirt *libvirt)
{
    gint64 deadline = g_get_monotonic_time() + END_BOUND_MS * G_TIME_SPAN_MILLISECOND;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&libvirt->mutex);

    while (libvirt->has_connection_thread || libvirt->has_event_thread || libvirt->calls > 0) {
        if (!g_cond_wait_until(&libvirt->changed, &libvirt->mutex, deadline))
            break;
    }
}
