/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: calls with a bound. Each has a thread of its own, because one in libvirt can't be
 * interrupted: who waited too long leaves it behind, and it frees what it has when it comes back
 * (at the latest when keepalive finds the connection dead). Their number is limited, and on one
 * connection they are one at a time: libvirt before 10.5 leaves a pointer to the stack of a call
 * behind that another one woke up, and the next one follows it.
 */
#include "guest/libvirt_state.h"
#include "util/error.h"

enum {
    CALL_BOUND_S = 30,
    CALLS_MAX = 16,
};

void
guest_libvirt_set_error(GError **error)
{
    const virError *last = virGetLastError();

    if (last && last->message)
        error_set_remote(error, last->domain, last->code, last->message);
    else
        error_set(error, ERROR_FROM_DOMAIN, ERROR_INTERNAL, "libvirt failed and does not say why");
}

struct libvirt_call *
guest_libvirt_call_new(bool (*run)(struct libvirt_call *, GError **), const char *what)
{
    struct libvirt_call *call = g_new0(struct libvirt_call, 1);

    call->refs = 1;
    call->run = run;
    call->what = what;
    call->bound_s = CALL_BOUND_S;
    return call;
}

void
guest_libvirt_call_unref(struct libvirt_call *call)
{
    if (!g_atomic_int_dec_and_test(&call->refs))
        return;
    if (call->conn)
        virConnectClose(call->conn);
    if (call->libvirt)
        guest_libvirt_unref(call->libvirt);
    if (call->found)
        g_ptr_array_unref(call->found);
    g_clear_error(&call->error);
    g_free(call->xml);
    g_free(call);
}

static void *
run_call(void *opaque)
{
    struct libvirt_call *call = opaque;
    struct guest_libvirt *libvirt = call->libvirt;
    bool is_dead;

    call->is_good = call->run(call, &call->error);
    /* libvirt does not report each end of a connection that its keepalive finds during a call. */
    is_dead = !call->is_good && virConnectIsAlive(call->conn) == 0;
    g_mutex_lock(&libvirt->mutex);
    if (is_dead && libvirt->conn == call->conn)
        libvirt->is_lost = true;
    if (libvirt->busy == call->conn)
        libvirt->busy = NULL;
    g_mutex_unlock(&libvirt->mutex);
    virConnectClose(call->conn);
    call->conn = NULL;
    g_mutex_lock(&libvirt->mutex);
    call->is_done = true;
    libvirt->calls--;
    g_cond_broadcast(&libvirt->changed);
    g_mutex_unlock(&libvirt->mutex);
    guest_libvirt_call_unref(call);
    return NULL;
}

static void
set_ended(GError **error)
{
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_ABORTED, "virtcryptd is ending");
}

static void
set_overdue(const struct libvirt_call *call, GError **error)
{
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_TIMEOUT,
              "%s: libvirt at '%s' does not answer within %u s", call->what, call->libvirt->uri,
              call->bound_s);
}

/* With the mutex held. */
static bool
has_to_wait(const struct guest_libvirt *libvirt)
{
    bool is_usable = libvirt->conn && !libvirt->is_lost;

    return !libvirt->is_ended &&
           (libvirt->calls >= CALLS_MAX || (is_usable && libvirt->busy == libvirt->conn));
}

/* With the mutex held. */
static bool
begin(struct guest_libvirt *libvirt, struct libvirt_call *call, gint64 deadline, GError **error)
{
    GThread *thread;

    call->libvirt = guest_libvirt_ref(libvirt);
    while (has_to_wait(libvirt)) {
        if (!g_cond_wait_until(&libvirt->changed, &libvirt->mutex, deadline)) {
            set_overdue(call, error);
            return false;
        }
    }
    if (libvirt->is_ended) {
        set_ended(error);
        return false;
    }
    if (!libvirt->conn || libvirt->is_lost) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
                  "libvirt can't be asked at '%s': %s", libvirt->uri,
                  libvirt->problem ? libvirt->problem : "there is no connection yet");
        return false;
    }
    virConnectRef(libvirt->conn);
    call->conn = libvirt->conn;
    g_atomic_int_inc(&call->refs);
    thread = g_thread_try_new("libvirt-call", run_call, call, error);
    if (!thread) {
        g_atomic_int_add(&call->refs, -1);
        return false;
    }
    g_thread_unref(thread);
    libvirt->busy = call->conn;
    libvirt->calls++;
    return true;
}

bool
guest_libvirt_call_run(struct guest_libvirt *libvirt, struct libvirt_call *call, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)call->bound_s * G_TIME_SPAN_SECOND;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&libvirt->mutex);

    if (!begin(libvirt, call, deadline, error))
        return false;
    while (!call->is_done) {
        if (libvirt->is_ended) {
            set_ended(error);
            return false;
        }
        if (!g_cond_wait_until(&libvirt->changed, &libvirt->mutex, deadline) && !call->is_done) {
            set_overdue(call, error);
            return false;
        }
    }
    if (!call->is_good)
        g_propagate_error(error, g_steal_pointer(&call->error));
    return call->is_good;
}
