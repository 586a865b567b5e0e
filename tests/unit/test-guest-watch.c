/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * When guests are looked at, with looks that only count.
 */
#include "guest/watch.h"

#include <string.h>

#include "patience.h"
#include "util/error.h"

enum { LONG_S = 100000 };

struct seen_look {
    bool is_all;
    GArray *guests;
};

struct fixture {
    GAsyncQueue *looks; /* of struct seen_look, as they begin */
    struct guest_watch *watch;
    GMutex mutex;
    int64_t look_again; /* what the next one answers, once */
    bool fails;
    bool is_slow;
};

static void
free_look(void *opaque)
{
    struct seen_look *seen = opaque;

    g_array_unref(seen->guests);
    g_free(seen);
}

static bool
look(void *opaque, const GArray *guests, int64_t *ret_look_again, GError **error)
{
    struct fixture *fixture = opaque;
    struct seen_look *seen = g_new0(struct seen_look, 1);
    bool fails;
    bool is_slow;

    seen->is_all = guests == NULL;
    seen->guests = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    if (guests)
        g_array_append_vals(seen->guests, guests->data, guests->len);
    g_async_queue_push(fixture->looks, seen);
    g_mutex_lock(&fixture->mutex);
    *ret_look_again = fixture->look_again;
    fixture->look_again = 0;
    fails = fixture->fails;
    is_slow = fixture->is_slow;
    g_mutex_unlock(&fixture->mutex);
    if (is_slow)
        g_usleep(G_TIME_SPAN_SECOND / 2);
    if (fails)
        error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED, "nobody answers");
    return !fails;
}

static void
set_up_watch(struct fixture *fixture, unsigned int interval_s, unsigned int retry_s)
{
    const struct guest_watch_params params = {
        .look = look,
        .opaque = fixture,
        .interval_s = interval_s,
        .retry_s = retry_s,
    };

    fixture->watch = guest_watch_new(&params);
}

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    g_mutex_init(&fixture->mutex);
    fixture->looks = g_async_queue_new_full(free_look);
    set_up_watch(fixture, LONG_S, LONG_S);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    guest_watch_free(fixture->watch);
    g_async_queue_unref(fixture->looks);
    g_mutex_clear(&fixture->mutex);
}

static struct seen_look *
wait_for_look(struct fixture *fixture)
{
    struct seen_look *seen = g_async_queue_timeout_pop(fixture->looks, (guint64)patient_ms(20000) *
                                                                           G_TIME_SPAN_MILLISECOND);

    g_assert_nonnull(seen);
    return seen;
}

static void
expect_look_at_all(struct fixture *fixture)
{
    struct seen_look *seen = wait_for_look(fixture);

    g_assert_true(seen->is_all);
    free_look(seen);
}

static void
expect_no_look(struct fixture *fixture, unsigned int ms)
{
    g_assert_null(g_async_queue_timeout_pop(fixture->looks, (guint64)ms * G_TIME_SPAN_MILLISECOND));
}

static void
connect_watch(struct fixture *fixture)
{
    guest_watch_set_connected(fixture->watch, true);
    expect_look_at_all(fixture);
}

static void
note(struct fixture *fixture, uint8_t number)
{
    const struct uuid guest = {.bytes = {number}};

    guest_watch_note_guest(fixture->watch, &guest);
}

static void
test_each_connecting_is_a_look_at_all(struct fixture *fixture, gconstpointer unused)
{
    connect_watch(fixture);
    expect_no_look(fixture, 300);
    guest_watch_set_connected(fixture->watch, false);
    connect_watch(fixture);
}

static void
test_events_of_a_moment_are_one_look(struct fixture *fixture, gconstpointer unused)
{
    struct seen_look *seen;

    connect_watch(fixture);
    note(fixture, 1);
    note(fixture, 2);
    note(fixture, 1);
    seen = wait_for_look(fixture);
    g_assert_false(seen->is_all);
    g_assert_cmpuint(seen->guests->len, ==, 2);
    free_look(seen);
    expect_no_look(fixture, 500);
}

static void
test_events_of_many_guests_are_a_look_at_all(struct fixture *fixture, gconstpointer unused)
{
    connect_watch(fixture);
    for (int i = 0; i < 65; i++)
        note(fixture, (uint8_t)i);
    expect_look_at_all(fixture);
    expect_no_look(fixture, 800);
}

static void
test_events_without_a_connection_wait_for_it(struct fixture *fixture, gconstpointer unused)
{
    note(fixture, 1);
    guest_watch_note_all(fixture->watch);
    guest_watch_note_deadline(fixture->watch, 1);
    expect_no_look(fixture, 800);
    connect_watch(fixture);
    expect_no_look(fixture, 800);
}

static void
test_a_deadline_is_a_look_at_all_at_its_time(struct fixture *fixture, gconstpointer unused)
{
    int64_t now = g_get_real_time() / G_TIME_SPAN_SECOND;

    connect_watch(fixture);
    guest_watch_note_deadline(fixture->watch, now + LONG_S);
    guest_watch_note_deadline(fixture->watch, now + 2);
    expect_look_at_all(fixture);
    g_assert_cmpint(g_get_real_time() / G_TIME_SPAN_SECOND, >=, now + 2);
}

static void
test_a_look_asks_for_the_next_one_but_never_at_once(struct fixture *fixture, gconstpointer unused)
{
    fixture->look_again = 1; /* long past */
    connect_watch(fixture);
    expect_look_at_all(fixture); /* there is no other reason for long */
    expect_no_look(fixture, 1500);
}

static void
test_a_look_that_fails_is_repeated(struct fixture *fixture, gconstpointer unused)
{
    guest_watch_free(fixture->watch);
    set_up_watch(fixture, LONG_S, 1);
    fixture->fails = true;
    connect_watch(fixture);
    expect_look_at_all(fixture);
}

static void
test_the_interval_is_a_reason(struct fixture *fixture, gconstpointer unused)
{
    guest_watch_free(fixture->watch);
    set_up_watch(fixture, 1, LONG_S);
    connect_watch(fixture);
    expect_look_at_all(fixture);
}

static void
test_who_asks_waits_for_a_look_that_began_later(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    fixture->is_slow = true;
    connect_watch(fixture); /* it is under way */
    g_assert_true(guest_watch_look_now(fixture->watch, &error));
    g_assert_no_error(error);
    expect_look_at_all(fixture);
    g_mutex_lock(&fixture->mutex);
    fixture->fails = true;
    g_mutex_unlock(&fixture->mutex);
    g_assert_false(guest_watch_look_now(fixture->watch, &error));
    g_assert_cmpstr(error->message, ==, "nobody answers");
}

static void
test_who_asks_without_a_connection_is_told(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(guest_watch_look_now(fixture->watch, &error));
    g_assert_cmpstr(error->message, ==, "guests can't be looked at: libvirt can't be asked");
}

#define ADD(function)                                                                              \
    g_test_add("/guest/watch/" #function, struct fixture, NULL, set_up, test_##function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(each_connecting_is_a_look_at_all);
    ADD(events_of_a_moment_are_one_look);
    ADD(events_of_many_guests_are_a_look_at_all);
    ADD(events_without_a_connection_wait_for_it);
    ADD(a_deadline_is_a_look_at_all_at_its_time);
    ADD(a_look_asks_for_the_next_one_but_never_at_once);
    ADD(a_look_that_fails_is_repeated);
    ADD(the_interval_is_a_reason);
    ADD(who_asks_waits_for_a_look_that_began_later);
    ADD(who_asks_without_a_connection_is_told);
    return g_test_run();
}
