/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Programs as the daemon runs them: what they get, what they can't see, and how they end.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "expect.h"
#include "patience.h"
#include "storage/child.h"

enum { BOUND_MS = 20000, IDLE_MAX_S = 16 };

static char *
run_shell(const char *script, const struct secret_buf *key, const int *file, GError **error)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    const struct child child = {.argv = argv, .keys = {key}, .files = {file}};
    char *output = NULL;

    return child_run(&child, &output, error) ? output : NULL;
}

static void
expect_output(const char *script, const struct secret_buf *key, const int *file,
              const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *output = run_shell(script, key, file, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(output, ==, expected);
}

static void
test_output_is_given_back(void)
{
    expect_output("echo one; echo two", NULL, NULL, "one\ntwo\n");
}

static void
test_words_reach_the_program_as_they_are(void)
{
    const char *argv[] = {"printf", "%s|", "a b", "$HOME", "'", "", NULL};
    const struct child child = {.argv = argv};
    g_autofree char *output = NULL;

    g_assert_true(child_run(&child, &output, NULL));
    g_assert_cmpstr(output, ==, "a b|$HOME|'||");
}

static void
test_the_environment_holds_path_and_locale_alone(void)
{
    g_autofree char *expected = g_strdup_printf("PATH=%s\nLC_ALL=C\n", g_getenv("PATH"));

    g_setenv("SURPRISE", "1", TRUE);
    expect_output("tr '\\0' '\\n' </proc/$$/environ", NULL, NULL, expected);
    g_unsetenv("SURPRISE");
}

static void
test_a_key_is_read_from_a_file_of_its_own(void)
{
    g_autoptr(secret_buf_t) key = secret_buf_new_from("secret key", 10, NULL);

    expect_output("cat " CHILD_KEY0, key, NULL, "secret key");
}

static void
test_a_key_is_in_no_word_and_no_variable(void)
{
    g_autoptr(secret_buf_t) key = secret_buf_new_from("secret key", 10, NULL);

    expect_output("cat /proc/$$/cmdline /proc/$$/environ | grep -c 'secret ke[y]'; true", key, NULL,
                  "0\n");
}

static void
test_an_empty_key_is_refused(void)
{
    g_autoptr(secret_buf_t) key = secret_buf_new(0, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_null(run_shell("true", key, NULL, &error));
    expect_error(error, ERROR_INVALID_SECRET, ERROR_FROM_STORAGE, "the key is empty");
}

/* Descriptors of others that were opened without close-on-exec stay with the daemon. */
static void
test_a_program_has_no_descriptors_but_its_own(void)
{
    int low = open("/dev/null", O_RDONLY);
    int high = fcntl(low, F_DUPFD, 200);
    g_autoptr(secret_buf_t) key = secret_buf_new_from("k", 1, NULL);

    /* dash opens none of its own for this. */
    expect_output("for fd in 3 4 5 6 7 8 9 64 200; do [ -e /proc/$$/fd/$fd ] && echo $fd; done; "
                  "true",
                  key, &low, "3\n5\n");
    close(low);
    close(high);
}

static void
test_a_file_is_lent_by_its_descriptor(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("virtcrypt-XXXXXX", &path, NULL);

    expect_output("echo text >" CHILD_FILE0 "; cat " CHILD_FILE0, NULL, &fd, "text\n");
    close(fd);
    unlink(path);
}

static void
test_standard_input_is_empty(void)
{
    expect_output("cat; echo end", NULL, NULL, "end\n");
}

static void
test_signals_that_the_daemon_ignores_work_again(void)
{
    signal(SIGPIPE, SIG_IGN);
    expect_output("trap '' USR1; grep SigIgn /proc/self/status | tail -c 4", NULL, NULL, "200\n");
    signal(SIGPIPE, SIG_DFL);
}

static void
test_a_failure_names_program_status_and_last_line(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(run_shell("echo first >&2; echo 'no such pool' >&2; exit 3", NULL, NULL, &error));
    expect_error(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE,
                 "sh failed (status 3): no such pool");
}

static void
test_a_death_by_signal_is_a_failure(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(run_shell("kill -SEGV $$", NULL, NULL, &error));
    expect_error(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE,
                 "sh failed (signal 11): it did not say why");
}

static void
test_a_program_that_is_missing_is_named(void)
{
    const char *argv[] = {"no-such-program", NULL};
    const struct child child = {.argv = argv};
    g_autoptr(GError) error = NULL;

    g_assert_false(child_run(&child, NULL, &error));
    expect_error(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE,
                 "the program no-such-program is not installed");
}

static void
test_much_output_on_both_streams_does_not_block(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *output = run_shell(
        "head -c 300000 /dev/zero | tr '\\0' x >&2; head -c 300000 /dev/zero | tr '\\0' y", NULL,
        NULL, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(strlen(output), ==, 300000);
}

static void
test_a_silent_program_is_stopped_after_its_time(void)
{
    const char *argv[] = {"sleep", "1000", NULL};
    const struct child child = {.argv = argv, .idle_timeout_s = 1};
    g_autoptr(GError) error = NULL;

    g_assert_false(child_run(&child, NULL, &error));
    expect_error(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_STORAGE,
                 "sleep did nothing for 1 s and was stopped");
}

/* Whether a program that takes twice this time, and says something twice a second, ends. */
static bool
run_reporting(unsigned int idle_s)
{
    g_autofree char *script = g_strdup_printf(
        "i=0; while [ $i -lt %u ]; do echo $i; sleep 0.5; i=$((i + 1)); done", 4 * idle_s);
    const char *argv[] = {"sh", "-c", script, NULL};
    const struct child child = {.argv = argv, .idle_timeout_s = idle_s};
    g_autoptr(GError) error = NULL;

    if (child_run(&child, NULL, &error))
        return true;
    expect_error_part(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_STORAGE, "sh did nothing for");
    return false;
}

static void
test_a_program_that_reports_is_not_stopped(void)
{
    unsigned int idle_s = 1;

    /* On a loaded host it may be silent for longer than it means to. */
    while (!run_reporting(idle_s)) {
        idle_s *= 4;
        g_assert_cmpuint(idle_s, <=, IDLE_MAX_S);
    }
}

static void
test_progress_is_what_qemu_img_says(void)
{
    const char *argv[] = {"printf", "    (1.00/100%%)\\r    (42.50/100%%)\\r    (4", NULL};
    struct storage_progress progress = {0};
    const struct child child = {.argv = argv, .progress = &progress};

    g_assert_true(child_run(&child, NULL, NULL));
    g_assert_cmpint(progress.permille, ==, 425);
}

struct cancelling {
    struct storage_progress progress;
    const char *path; /* of the file in which the program tells what it started */
};

/* Once the program has said so, or never will. */
static gpointer
cancel(gpointer opaque)
{
    struct cancelling *cancelling = opaque;
    gint64 deadline = g_get_monotonic_time() + (gint64)patient_ms(BOUND_MS) * 1000;
    bool is_started = false;

    while (!is_started && g_get_monotonic_time() < deadline) {
        g_autofree char *text = NULL;

        g_usleep(10000);
        is_started = g_file_get_contents(cancelling->path, &text, NULL, NULL) && strchr(text, '\n');
    }
    g_atomic_int_set(&cancelling->progress.is_cancelled, 1);
    return NULL;
}

static bool
wait_until_gone(const char *pid_path)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)patient_ms(BOUND_MS) * 1000;
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(pid_path, &text, NULL, NULL));
    while (kill((pid_t)g_ascii_strtoll(text, NULL, 10), 0) == 0) {
        if (g_get_monotonic_time() > deadline)
            return false;
        g_usleep(10000);
    }
    return true;
}

static void
test_a_cancel_stops_a_program_and_what_it_started(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("virtcrypt-XXXXXX", &path, NULL);
    struct cancelling cancelling = {.path = path};
    const char *argv[] = {"sh", "-c", "sleep 1000 & echo $! >" CHILD_FILE0 "; wait", NULL};
    const struct child child = {.argv = argv, .files = {&fd}, .progress = &cancelling.progress};
    g_autoptr(GError) error = NULL;
    GThread *thread = g_thread_new("cancel", cancel, &cancelling);

    g_assert_false(child_run(&child, NULL, &error));
    g_thread_join(thread);
    expect_error(error, ERROR_OPERATION_ABORTED, ERROR_FROM_STORAGE,
                 "sh was stopped: it was cancelled");
    g_assert_true(wait_until_gone(path));
    close(fd);
    unlink(path);
}

/* A daemon of its own that holds the streams open (LVM's dmeventd) is not waited for. */
static void
test_the_end_of_the_program_is_the_end(void)
{
    gint64 start = g_get_monotonic_time();

    expect_output("setsid sleep 30 & echo done", NULL, NULL, "done\n");
    g_assert_cmpint(g_get_monotonic_time() - start, <, (gint64)patient_ms(BOUND_MS) * 1000);
}

static gpointer
run_often(gpointer opaque)
{
    for (int i = 0; i < 25; i++) {
        g_autoptr(secret_buf_t) key = secret_buf_new_from(opaque, 4, NULL);
        g_autofree char *output = run_shell("cat " CHILD_KEY0, key, NULL, NULL);

        if (g_strcmp0(output, opaque) != 0)
            return GINT_TO_POINTER(1);
    }
    return NULL;
}

static void
test_threads_run_programs_at_a_time(void)
{
    static const char *const keys[] = {"key0", "key1", "key2", "key3"};
    GThread *threads[G_N_ELEMENTS(keys)];

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        threads[i] = g_thread_new("run", run_often, (gpointer)keys[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        g_assert_null(g_thread_join(threads[i]));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/storage/child/output", test_output_is_given_back);
    g_test_add_func("/storage/child/words", test_words_reach_the_program_as_they_are);
    g_test_add_func("/storage/child/environment", test_the_environment_holds_path_and_locale_alone);
    g_test_add_func("/storage/child/key", test_a_key_is_read_from_a_file_of_its_own);
    g_test_add_func("/storage/child/key-hidden", test_a_key_is_in_no_word_and_no_variable);
    g_test_add_func("/storage/child/key-empty", test_an_empty_key_is_refused);
    g_test_add_func("/storage/child/descriptors", test_a_program_has_no_descriptors_but_its_own);
    g_test_add_func("/storage/child/file", test_a_file_is_lent_by_its_descriptor);
    g_test_add_func("/storage/child/input", test_standard_input_is_empty);
    g_test_add_func("/storage/child/signals", test_signals_that_the_daemon_ignores_work_again);
    g_test_add_func("/storage/child/failure", test_a_failure_names_program_status_and_last_line);
    g_test_add_func("/storage/child/signal", test_a_death_by_signal_is_a_failure);
    g_test_add_func("/storage/child/missing", test_a_program_that_is_missing_is_named);
    g_test_add_func("/storage/child/much", test_much_output_on_both_streams_does_not_block);
    g_test_add_func("/storage/child/silent", test_a_silent_program_is_stopped_after_its_time);
    g_test_add_func("/storage/child/reports", test_a_program_that_reports_is_not_stopped);
    g_test_add_func("/storage/child/progress", test_progress_is_what_qemu_img_says);
    g_test_add_func("/storage/child/cancel", test_a_cancel_stops_a_program_and_what_it_started);
    g_test_add_func("/storage/child/end", test_the_end_of_the_program_is_the_end);
    g_test_add_func("/storage/child/threads", test_threads_run_programs_at_a_time);
    return g_test_run();
}
