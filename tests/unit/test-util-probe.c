/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Probes: what hangs (here the opening of a FIFO that nobody writes to) keeps its caller no longer
 * than the bound, changes nothing when it comes back, and does not pile up.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "patience.h"
#include "util/probe.h"

enum { BOUND_MS = 100, SOON_MS = 10000, LONG_MS = 60 * 1000, STUCK_MAX = 16 };

struct fixture {
    struct folder folder;
    char *fifo;
    gint cancel;
};

/* What a probe works with. */
struct reading {
    char *path;
    int fd_of_process;
    bool has_fd;
    bool takes_signals;
};

static gint freed; /* atomic, as the next */
static gint ran;

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->fifo = folder_path(&test->folder, "fifo");
    g_assert_cmpint(mkfifo(test->fifo, 0600), ==, 0);
    g_atomic_int_set(&freed, 0);
    g_atomic_int_set(&ran, 0);
}

static gint64
soon_us(void)
{
    return patient_ms(SOON_MS) * 1000LL;
}

static void
expect_stuck(size_t count)
{
    gint64 deadline = g_get_monotonic_time() + soon_us();

    while (probe_count_stuck() != count && g_get_monotonic_time() < deadline)
        g_usleep(1000);
    g_assert_cmpuint(probe_count_stuck(), ==, count);
}

/* A thread may begin late. */
static void
expect_runs(int count)
{
    gint64 deadline = g_get_monotonic_time() + soon_us();

    while (g_atomic_int_get(&ran) != count && g_get_monotonic_time() < deadline)
        g_usleep(1000);
    g_assert_cmpint(g_atomic_int_get(&ran), ==, count);
}

/* Readers that wait go on; there may be none. */
static void
answer(const struct fixture *test)
{
    int fd;

    while (probe_count_stuck() > 0) {
        fd = open(test->fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0)
            close(fd);
        g_usleep(1000);
    }
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    answer(test);
    g_free(test->fifo);
    folder_clear(&test->folder);
}

static void
free_reading(void *data)
{
    struct reading *reading = data;

    g_free(reading->path);
    g_free(reading);
    g_atomic_int_inc(&freed);
}

static void
read_path(void *data)
{
    struct reading *reading = data;
    sigset_t blocked;
    int fd;

    g_atomic_int_inc(&ran);
    reading->has_fd = fcntl(reading->fd_of_process, F_GETFD) >= 0;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    reading->takes_signals = !sigismember(&blocked, SIGTERM);
    fd = open(reading->path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
}

static struct reading *
run(struct fixture *test, const char *path, const char *object, unsigned int timeout_ms,
    GError **error)
{
    struct reading *reading = g_new0(struct reading, 1);
    const struct probe probe = {
        .object = object,
        .timeout_ms = timeout_ms,
        .cancel = &test->cancel,
        .run = read_path,
        .free_data = free_reading,
    };

    reading->path = g_strdup(path);
    reading->fd_of_process = test->folder.fd;
    return probe_run(&probe, reading, error);
}

static void
expect_overdue(struct fixture *test, const char *object, const char *part)
{
    gint64 begun = g_get_monotonic_time();
    g_autoptr(GError) error = NULL;

    g_assert_null(run(test, test->fifo, object, BOUND_MS, &error));
    expect_error_part(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_NONE, part);
    g_assert_nonnull(strstr(error->message, object));
    g_assert_cmpint(g_get_monotonic_time() - begun, <, soon_us());
}

static void
test_what_answers_gives_back_what_it_found(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct reading *reading = run(test, "/dev/null", "null", LONG_MS, &error);

    g_assert_no_error(error);
    g_assert_cmpint(g_atomic_int_get(&ran), ==, 1);
    g_assert_cmpint(g_atomic_int_get(&freed), ==, 0);
    free_reading(reading);
    expect_stuck(0);
}

static void
test_it_has_no_descriptors_and_takes_no_signals(struct fixture *test, gconstpointer unused)
{
    struct reading *reading = run(test, "/dev/null", "null", LONG_MS, NULL);

    g_assert_false(reading->has_fd);
    g_assert_false(reading->takes_signals);
    g_assert_cmpint(fcntl(test->folder.fd, F_GETFD), >=, 0);
    free_reading(reading);
}

static void
test_what_hangs_is_left_behind_and_freed_by_its_thread(struct fixture *test, gconstpointer unused)
{
    expect_overdue(test, "the fifo", "has not answered for ");
    expect_stuck(1);
    g_assert_cmpint(g_atomic_int_get(&freed), ==, 0);
    answer(test);
    g_assert_cmpint(g_atomic_int_get(&freed), ==, 1);
}

static void
test_while_one_is_stuck_another_fails_at_once(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct reading *reading;

    /* Another one is tried after six times the bound, which is long past the twenty, however slow
     * they go: the first one is not waited for as long. */
    g_atomic_int_set(&test->cancel, 1);
    g_assert_null(run(test, test->fifo, "the fifo", LONG_MS, &error));
    g_atomic_int_set(&test->cancel, 0);
    expect_runs(1);
    for (int i = 0; i < 20; i++)
        expect_overdue(test, "the fifo", "still does not answer for ");
    expect_stuck(1);
    expect_runs(1);
    g_assert_cmpint(g_atomic_int_get(&freed), ==, 20);
    reading = run(test, "/dev/null", "null", LONG_MS, NULL);
    g_assert_nonnull(reading);
    free_reading(reading);
}

static void
test_after_some_time_another_is_tried(struct fixture *test, gconstpointer unused)
{
    struct reading *reading;

    expect_overdue(test, "the fifo", "has not answered");
    g_usleep(6 * BOUND_MS * 1000);
    reading = run(test, "/dev/null", "the fifo", LONG_MS, NULL);
    g_assert_nonnull(reading);
    free_reading(reading);
    expect_stuck(1);
}

static void
test_what_answers_again_is_tried_again(struct fixture *test, gconstpointer unused)
{
    struct reading *reading;

    expect_overdue(test, "the fifo", "has not answered");
    answer(test);
    reading = run(test, "/dev/null", "the fifo", LONG_MS, NULL);
    g_assert_nonnull(reading);
    free_reading(reading);
}

static void
test_they_do_not_pile_up(struct fixture *test, gconstpointer unused)
{
    for (int i = 0; i < STUCK_MAX; i++) {
        g_autofree char *object = g_strdup_printf("file %d", i);

        expect_overdue(test, object, "has not answered");
    }
    expect_overdue(test, "another", "16 readings of files do not end");
    expect_stuck(STUCK_MAX);
}

static gpointer
set_soon(gpointer opaque)
{
    g_usleep(BOUND_MS * 1000);
    g_atomic_int_set((gint *)opaque, 1);
    return NULL;
}

static void
test_who_is_cancelled_waits_no_longer(struct fixture *test, gconstpointer unused)
{
    gint64 begun = g_get_monotonic_time();
    GThread *thread = g_thread_new("cancel", set_soon, &test->cancel);
    g_autoptr(GError) error = NULL;

    g_assert_null(run(test, test->fifo, "the fifo", LONG_MS, &error));
    expect_error_part(error, ERROR_OPERATION_ABORTED, ERROR_FROM_NONE, "the fifo was broken off");
    g_assert_cmpint(g_get_monotonic_time() - begun, <, soon_us());
    g_thread_join(thread);
    expect_stuck(1);
}

/* The end of a change needs it, perhaps. */
static void
test_what_answers_at_once_is_read_though_it_is_cancelled(struct fixture *test, gconstpointer unused)
{
    gint64 deadline = g_get_monotonic_time() + soon_us();
    struct reading *reading = NULL;

    g_atomic_int_set(&test->cancel, 1);
    /* "At once" can be longer than is waited for, where the thread begins late. */
    for (;;) {
        reading = run(test, "/dev/null", "null", LONG_MS, NULL);
        if (reading || g_get_monotonic_time() >= deadline)
            break;
        g_usleep(1000);
    }
    g_assert_nonnull(reading);
    free_reading(reading);
}

static void
abort_at_end(void)
{
    abort();
}

static void
test_a_process_ends_while_one_is_stuck(struct fixture *test, gconstpointer unused)
{
    if (g_test_subprocess()) {
        probe_end_process(3); /* nothing is stuck */
        expect_overdue(test, "the fifo", "has not answered");
        g_assert_cmpint(atexit(abort_at_end), ==, 0);
        printf("said\n");
        probe_end_process(4);
    }
    g_test_trap_subprocess(NULL, (guint64)soon_us(), G_TEST_SUBPROCESS_DEFAULT);
    g_assert_false(g_test_trap_has_passed());
    g_test_trap_assert_stdout("*said*");
    g_test_trap_assert_stderr_unmatched("*Sanitizer*");
}

#define ADD(name) g_test_add("/probe/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(what_answers_gives_back_what_it_found);
    ADD(it_has_no_descriptors_and_takes_no_signals);
    ADD(what_hangs_is_left_behind_and_freed_by_its_thread);
    ADD(while_one_is_stuck_another_fails_at_once);
    ADD(after_some_time_another_is_tried);
    ADD(what_answers_again_is_tried_again);
    ADD(they_do_not_pile_up);
    ADD(who_is_cancelled_waits_no_longer);
    ADD(what_answers_at_once_is_read_though_it_is_cancelled);
    ADD(a_process_ends_while_one_is_stuck);
    return g_test_run();
}
