/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see polkit.h. A check's fields are the loop's, except that between being pushed to the pool
 * and coming back by the queue `done` its thread reads the question and writes `failure`.
 */
#include "rpc/polkit.h"

#include <errno.h>
#include <gio/gio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(polkit, "eventfd2 read write close");

/* Of polkit's D-Bus interface. */
#define POLKIT_NAME      "org.freedesktop.PolicyKit1"
#define POLKIT_PATH      "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
enum { POLKIT_ALLOW_INTERACTION = 1 };

static const char *const action_ids[] = {
    [RPC_POLKIT_MONITOR] = "org.libvirt.unix.monitor",
    [RPC_POLKIT_MANAGE] = "org.libvirt.unix.manage",
};

struct rpc_polkit_check {
    unsigned int refs;         /* the pool's and the caller's */
    struct rpc_polkit *polkit; /* NULL once answered */
    struct rpc_identity identity;
    const char *action_id;
    GCancellable *cancellable;
    struct loop_timer *limit;
    bool timed_out;
    rpc_polkit_func func;
    void *opaque;
    GError *failure;
};

struct rpc_polkit {
    struct loop *loop;
    unsigned int timeout_ms;
    rpc_polkit_ask_func ask; /* NULL: we ask */
    void *ask_opaque;
    GThreadPool *pool;
    GPtrArray *running; /* of struct rpc_polkit_check */
    GAsyncQueue *done;  /* of struct rpc_polkit_check */
    int done_fd;
    struct loop_watch *watch;
};

static void
check_unref(struct rpc_polkit_check *check)
{
    if (--check->refs > 0)
        return;
    g_object_unref(check->cancellable);
    g_clear_error(&check->failure);
    g_free(check);
}

static GDBusConnection *
connect_bus(GCancellable *cancellable, GError **error)
{
    g_autofree char *address =
        g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, cancellable, error);

    if (!address)
        return NULL;
    return g_dbus_connection_new_for_address_sync(
        address,
        G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
            G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
        NULL, cancellable, error);
}

static GVariant *
question_of(const struct rpc_polkit_check *check)
{
    const struct rpc_identity *identity = &check->identity;
    GVariantBuilder subject;
    GVariantBuilder details;

    g_variant_builder_init(&subject, G_VARIANT_TYPE("a{sv}"));
    g_variant_builder_add(&subject, "{sv}", "pid",
                          g_variant_new_uint32((uint32_t)identity->peer_pid));
    g_variant_builder_add(&subject, "{sv}", "start-time",
                          g_variant_new_uint64(identity->peer_start_time));
    g_variant_builder_add(&subject, "{sv}", "uid",
                          g_variant_new_int32((int32_t)identity->peer_uid));
    g_variant_builder_init(&details, G_VARIANT_TYPE("a{ss}"));
    return g_variant_new("((sa{sv})sa{ss}us)", "unix-process", &subject, check->action_id, &details,
                         (uint32_t)POLKIT_ALLOW_INTERACTION, "");
}

/* The error of an answer that is not yes; the codes are those that libvirt's clients act on. */
static void
set_refusal(const struct rpc_polkit_check *check, bool is_challenge, GVariant *details,
            GError **error)
{
    const char *dismissed = NULL;

    if (g_variant_lookup(details, "polkit.dismissed", "&s", &dismissed))
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_CANCELLED,
                  "user cancelled authentication process");
    else if (is_challenge)
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_UNAVAILABLE,
                  "no polkit agent available to authenticate action '%s'", check->action_id);
    else
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_FAILED,
                  "access denied by policy: action '%s' for user %u", check->action_id,
                  check->identity.peer_uid);
}

static void
ask(const struct rpc_polkit_check *check, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(GDBusConnection) bus = connect_bus(check->cancellable, &failure);
    g_autoptr(GVariant) answer = NULL;
    g_autoptr(GVariant) details = NULL;
    gboolean is_authorized = FALSE;
    gboolean is_challenge = FALSE;

    if (bus)
        answer = g_dbus_connection_call_sync(bus, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                             "CheckAuthorization", question_of(check),
                                             G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE,
                                             G_MAXINT, check->cancellable, &failure);
    if (!answer) {
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_FAILED,
                  "cannot ask polkit about action '%s' for user %u: %s", check->action_id,
                  check->identity.peer_uid, failure->message);
    } else {
        g_variant_get(answer, "((bb@a{ss}))", &is_authorized, &is_challenge, &details);
        if (!is_authorized)
            set_refusal(check, is_challenge, details, error);
    }
    if (bus)
        g_dbus_connection_close_sync(bus, NULL, NULL);
}

static void
have_asked(const struct rpc_polkit *polkit, struct rpc_polkit_check *check)
{
    const struct rpc_polkit_question question = {
        .identity = &check->identity,
        .action_id = check->action_id,
        .timeout_ms = polkit->timeout_ms,
        .cancel_fd = g_cancellable_get_fd(check->cancellable),
    };

    if (g_cancellable_is_cancelled(check->cancellable))
        error_set(&check->failure, ERROR_FROM_POLKIT, ERROR_AUTH_FAILED,
                  "nobody waits for polkit's answer any more");
    else
        (void)polkit->ask(&question, polkit->ask_opaque, &check->failure);
    g_cancellable_release_fd(check->cancellable);
}

static void
run_check(void *opaque, void *pool_opaque)
{
    struct rpc_polkit_check *check = opaque;
    struct rpc_polkit *polkit = pool_opaque;
    uint64_t one = 1;

    if (check->identity.peer_start_time == 0)
        error_set(&check->failure, ERROR_FROM_POLKIT, ERROR_AUTH_FAILED,
                  "process %d, which polkit is to judge, can't be told from a later one",
                  check->identity.peer_pid);
    else if (polkit->ask)
        have_asked(polkit, check);
    else
        ask(check, &check->failure);
    g_async_queue_push(polkit->done, check);
    if (write(polkit->done_fd, &one, sizeof(one)) < 0)
        g_assert_not_reached();
}

static void
answer_done(struct rpc_polkit *polkit)
{
    struct rpc_polkit_check *check;

    while ((check = g_async_queue_try_pop(polkit->done))) {
        loop_timer_free(g_steal_pointer(&check->limit));
        if (check->timed_out && check->failure) {
            g_clear_error(&check->failure);
            error_set(&check->failure, ERROR_FROM_POLKIT, ERROR_AUTH_FAILED,
                      "polkit did not answer about action '%s' within %u s", check->action_id,
                      polkit->timeout_ms / 1000);
        }
        check->polkit = NULL;
        g_ptr_array_remove_fast(polkit->running, check);
        check->func(check->failure, check->opaque);
        check_unref(check);
    }
}

static void
on_done(uint32_t events, void *opaque)
{
    struct rpc_polkit *polkit = opaque;
    uint64_t count;

    if (read(polkit->done_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        g_assert_not_reached();
    answer_done(polkit);
}

struct rpc_polkit *
rpc_polkit_new(struct loop *loop, unsigned int max_threads, GError **error)
{
    struct rpc_polkit *polkit = g_new0(struct rpc_polkit, 1);

    polkit->loop = loop;
    polkit->timeout_ms = RPC_POLKIT_TIMEOUT_MS;
    polkit->running = g_ptr_array_new();
    polkit->done = g_async_queue_new();
    polkit->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (polkit->done_fd < 0)
        error_set_errno(error, ERROR_FROM_POLKIT, errno, "cannot wait for polkit");
    else
        polkit->watch = loop_watch_new(loop, polkit->done_fd, EPOLLIN, on_done, polkit, error);
    if (polkit->watch)
        polkit->pool = g_thread_pool_new(run_check, polkit, (int)max_threads, FALSE, error);
    if (!polkit->pool) {
        rpc_polkit_free(polkit);
        return NULL;
    }
    return polkit;
}

void
rpc_polkit_free(struct rpc_polkit *polkit)
{
    if (!polkit)
        return;
    for (guint i = 0; i < polkit->running->len; i++) {
        struct rpc_polkit_check *check = g_ptr_array_index(polkit->running, i);

        g_cancellable_cancel(check->cancellable);
    }
    if (polkit->pool)
        g_thread_pool_free(polkit->pool, FALSE, TRUE);
    answer_done(polkit);
    loop_watch_free(polkit->watch);
    file_fd_clear(&polkit->done_fd);
    g_async_queue_unref(polkit->done);
    g_ptr_array_unref(polkit->running);
    g_free(polkit);
}

void
rpc_polkit_set_timeout(struct rpc_polkit *polkit, unsigned int timeout_ms)
{
    polkit->timeout_ms = timeout_ms;
}

void
rpc_polkit_set_ask(struct rpc_polkit *polkit, rpc_polkit_ask_func func, void *opaque)
{
    polkit->ask = func;
    polkit->ask_opaque = opaque;
}

static void
on_timeout(void *opaque)
{
    struct rpc_polkit_check *check = opaque;

    check->timed_out = true;
    g_cancellable_cancel(check->cancellable);
}

struct rpc_polkit_check *
rpc_polkit_begin(struct rpc_polkit *polkit, const struct rpc_identity *identity,
                 enum rpc_polkit_action action, rpc_polkit_func func, void *opaque)
{
    struct rpc_polkit_check *check = g_new0(struct rpc_polkit_check, 1);

    check->refs = 2;
    check->polkit = polkit;
    check->identity = *identity;
    check->action_id = action_ids[action];
    check->cancellable = g_cancellable_new();
    check->limit = loop_timer_new(polkit->loop, polkit->timeout_ms, on_timeout, check);
    check->func = func;
    check->opaque = opaque;
    g_ptr_array_add(polkit->running, check);
    g_thread_pool_push(polkit->pool, check, NULL);
    return check;
}

void
rpc_polkit_abandon(void *opaque)
{
    struct rpc_polkit_check *check = opaque;

    if (check->polkit)
        g_cancellable_cancel(check->cancellable);
    check_unref(check);
}
