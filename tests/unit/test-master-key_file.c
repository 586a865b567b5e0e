/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Key files that do not answer: each costs its time, and nothing else.
 */
#include <stdarg.h>
#include <sys/syscall.h>

#include "key_file_fixture.h"
#include "patience.h"
#include "util/probe.h"

/* Of files with this name, which are on a mount that is dead as long as this is not 0. */
#define HANGING_NAME "hanging"
static gint hangs; /* atomic */

int
openat(int dir_fd, const char *name, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    while (g_str_equal(name, HANGING_NAME) && g_atomic_int_get(&hangs))
        g_usleep(1000);
    return (int)syscall(SYS_openat, dir_fd, name, flags, mode);
}

static void
expect_overdue(struct fixture *test, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(unlock_slot(&test->context, test->slots, first(test), NULL, &error));
    expect_error_part(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_NONE, part);
    g_assert_nonnull(strstr(error->message, test->path));
}

/* What does not hang has as long to answer. */
enum { BOUND_MS = 200, BOUND_MAX_MS = 5000, LONG_MS = 60 * 1000, SOON_MS = 8000 };

static void
add_hanging(struct fixture *test)
{
    g_free(test->path);
    test->path = folder_path(&test->folder, HANGING_NAME);
    add(test);
}

static void
hang(struct fixture *test)
{
    test->context.timeout_ms = patient_ms(BOUND_MS);
    g_atomic_int_set(&hangs, 1);
}

static void
expect_stuck(size_t count)
{
    gint64 deadline = g_get_monotonic_time() + patient_ms(SOON_MS) * 1000LL;

    while (probe_count_stuck() != count && g_get_monotonic_time() < deadline)
        g_usleep(1000);
    g_assert_cmpuint(probe_count_stuck(), ==, count);
}

/* All that was left behind has come back. */
static void
answer(struct fixture *test)
{
    test->context.timeout_ms = 0;
    g_atomic_int_set(&hangs, 0);
    expect_stuck(0);
}

static void
test_a_file_that_hangs_is_told_in_time(struct fixture *test, gconstpointer unused)
{
    gint64 begun;

    add_hanging(test);
    hang(test);
    begun = g_get_monotonic_time();
    expect_overdue(test, "has not answered for ");
    g_assert_cmpint(g_get_monotonic_time() - begun, <, patient_ms(SOON_MS) * 1000LL);
    answer(test);
    expect_opens(test, test->slots, test->master);
}

/* Another one is tried after six times the first one's bound, which is long, and not waited for. */
static void
test_a_file_that_still_hangs_is_not_waited_for(struct fixture *test, gconstpointer unused)
{
    gint cancel = 1;
    g_autoptr(GError) error = NULL;

    add_hanging(test);
    hang(test);
    test->context.timeout_ms = LONG_MS;
    test->context.cancel = &cancel;
    g_assert_null(unlock_slot(&test->context, test->slots, first(test), NULL, &error));
    expect_error_part(error, ERROR_OPERATION_ABORTED, ERROR_FROM_NONE, "was broken off");
    test->context.cancel = NULL;
    expect_overdue(test, "still does not answer");
    answer(test);
}

/* Opens while the first slot hangs. A loaded host may need longer for the second than `hang` gives:
 * then both get more. */
static void
expect_next_opens(struct fixture *test)
{
    gint64 deadline = g_get_monotonic_time() + patient_ms(LONG_MS) * 1000LL;
    g_autoptr(master_key_t) opened = NULL;

    while (!opened) {
        g_autoptr(GError) error = NULL;

        opened = unlock_any(&test->context, test->slots, NULL, NULL, &error);
        if (opened || g_get_monotonic_time() >= deadline)
            g_assert_no_error(error);
        test->context.timeout_ms = MIN(2 * test->context.timeout_ms, patient_ms(BOUND_MAX_MS));
        g_usleep(1000);
    }
    slots_fixture_expect_key(opened, test->master);
}

static void
test_the_next_slot_opens_where_one_hangs(struct fixture *test, gconstpointer unused)
{
    add_hanging(test);
    g_free(test->path);
    test->path = folder_path(&test->folder, "key");
    add(test);
    hang(test);
    expect_next_opens(test);
    answer(test);
}

/* Not then, and not when what was left behind comes back. */
static void
test_where_a_file_hangs_nothing_is_changed(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = slots_new(newer);
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) key = NULL;

    add_hanging(test);
    key = folder_get(&test->folder, HANGING_NAME ".next");
    hang(test);
    unlock_settle(&test->context, test->slots);
    unlock_settle_removed(&test->context, first(test));
    g_assert_false(unlock_renew_slot(&test->context, slots, first(test), NULL, newer, &error));
    expect_error_part(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_NONE, test->path);
    answer(test);
    folder_expect(&test->folder, HANGING_NAME ".next", key);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
    unlock_settle(&test->context, test->slots);
    folder_expect(&test->folder, HANGING_NAME, key);
    expect_opens(test, test->slots, test->master);
}

#define ADD(name)                                                                                  \
    g_test_add("/master/key_file/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_file_that_hangs_is_told_in_time);
    ADD(a_file_that_still_hangs_is_not_waited_for);
    ADD(the_next_slot_opens_where_one_hangs);
    ADD(where_a_file_hangs_nothing_is_changed);
    return g_test_run();
}
