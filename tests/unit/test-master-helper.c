/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Requests to helpers by way of the broker: the real program, and programs that misbehave in its
 * place.
 */
#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"
#include "folder.h"
#include "master/helper.h"
#include "master/unlock_helper.h"
#include "patience.h"

enum { BOUND_MS = 20000, SHORT_MS = 300, THREADS = 16, TURN_US = 10000, GONE_TURNS = 1000 };

static char *
real_program(void)
{
    return g_test_build_filename(G_TEST_BUILT, "src", "master", "virtcrypt-unlock-helper", NULL);
}

/* A shell script in the place of the program. */
static char *
make_program(const char *folder, const char *script)
{
    g_autofree char *path = g_build_filename(folder, "helper", NULL);
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", script);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(chmod(path, 0700), ==, 0);
    return g_steal_pointer(&path);
}

static struct fields *
argon2_fields(unsigned int memory_kib, unsigned int passes, unsigned int lanes)
{
    struct fields *fields = fields_new();

    g_assert_true(fields_set_bytes(fields, "salt", "somesalt", 8, NULL));
    g_assert_true(fields_set_number(fields, "memory-kib", memory_kib, NULL));
    g_assert_true(fields_set_number(fields, "passes", passes, NULL));
    g_assert_true(fields_set_number(fields, "lanes", lanes, NULL));
    return fields;
}

static bool
derive(struct helper *helper, unsigned int timeout_ms, struct helper_reply *reply, GError **error)
{
    g_autoptr(fields_t) fields = argon2_fields(256, 2, 1);
    g_autoptr(secret_buf_t) key = secret_buf_new_from("password", 8, NULL);
    const struct helper_request request = {HELPER_ARGON2ID, fields, key, timeout_ms};

    return helper_run(helper, &request, reply, error);
}

static char *
hex_of(const struct secret_buf *key)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < secret_buf_len(key); i++)
        g_string_append_printf(text, "%02x", secret_buf_bytes(key)[i]);
    return g_string_free(text, FALSE);
}

/* "password", "somesalt", 256 KiB, 2 passes, 1 lane: of the reference implementation's tests. */
static const char derived_hex[] =
    "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe";

static void
expect_derived(const struct helper_reply *reply)
{
    g_autofree char *hex = hex_of(reply->key);

    g_assert_cmpstr(hex, ==, derived_hex);
}

static void
test_argon2id_gives_the_known_key(void)
{
    g_autofree char *program = real_program();
    g_autoptr(GError) error = NULL;
    g_autoptr(helper_t) helper = helper_start(program, &error);
    g_auto(helper_reply_t) reply = {0};
    uint64_t us = 0;

    g_assert_no_error(error);
    derive(helper, BOUND_MS, &reply, &error);
    g_assert_no_error(error);
    expect_derived(&reply);
    g_assert_true(fields_get_number(reply.fields, "cpu-us", 1, G_MAXUINT32, &us, NULL));
}

/* Runs what `script` does in the program's place. */
static bool
run_script(const struct folder *folder, const char *script, unsigned int timeout_ms, GError **error)
{
    g_autofree char *program = make_program(folder->path, script);
    g_autoptr(helper_t) helper = helper_start(program, NULL);
    g_auto(helper_reply_t) reply = {0};

    return derive(helper, timeout_ms, &reply, error);
}

/* Puts $1, a line for printf, on the socket; stays as long as a person would. */
#define ANSWER(bytes) "printf '" bytes "' >&3; sleep 60"

static void
expect_script_fails(const char *script, enum error_code code, const char *part)
{
    struct folder folder;
    g_autoptr(GError) error = NULL;

    folder_init(&folder);
    g_assert_false(run_script(&folder, script, BOUND_MS, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
    folder_clear(&folder);
}

static void
test_a_helper_that_ends_without_an_answer_is_named(void)
{
    expect_script_fails("exit 0", ERROR_OPERATION_FAILED,
                        "virtcrypt-unlock-helper ended without an answer to argon2id");
}

static void
test_a_helper_that_is_killed_is_named(void)
{
    expect_script_fails("kill -9 $$", ERROR_OPERATION_FAILED,
                        "virtcrypt-unlock-helper ended without an answer to argon2id");
}

static void
test_a_program_that_is_missing_is_named(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(helper_t) helper = helper_start("/nonexistent/helper", NULL);
    g_auto(helper_reply_t) reply = {0};

    g_assert_false(derive(helper, BOUND_MS, &reply, &error));
    expect_error(error, ERROR_SYSTEM, ERROR_FROM_SECRET,
                 "cannot start /nonexistent/helper: No such file or directory");
}

static void
test_an_answer_of_another_version_is_refused(void)
{
    expect_script_fails(ANSWER("VCHELP99\\0\\1\\0\\0\\0\\0\\0\\2\\0\\0\\0\\0\\0\\0"),
                        ERROR_OPERATION_FAILED, "of another version");
}

static void
test_an_answer_that_claims_too_much_is_refused(void)
{
    expect_script_fails(ANSWER("VCHELP01\\0\\1\\0\\0\\377\\377\\377\\377\\0\\0\\0\\0"),
                        ERROR_OPERATION_FAILED, "lengths are impossible");
    expect_script_fails(ANSWER("VCHELP01\\0\\1\\0\\1\\0\\0\\0\\2\\0\\0\\20\\1"),
                        ERROR_OPERATION_FAILED, "lengths are impossible");
    expect_script_fails(ANSWER("VCHELP01\\0\\1\\0\\0\\0\\0\\0\\2\\0\\0\\0\\1"),
                        ERROR_OPERATION_FAILED, "lengths are impossible");
}

static void
test_an_answer_with_damaged_fields_is_refused(void)
{
    expect_script_fails(ANSWER("VCHELP01\\0\\1\\0\\0\\0\\0\\0\\2\\0\\0\\0\\0\\0\\1"),
                        ERROR_INVALID_SECRET, "fields are damaged");
    expect_script_fails(ANSWER("VCHELP01\\0\\1\\0\\0\\0\\0\\0\\3\\0\\0\\0\\0\\0\\0x"),
                        ERROR_OPERATION_FAILED, "bytes behind its fields");
}

static void
test_a_cut_answer_is_refused(void)
{
    expect_script_fails("printf 'VCHELP01' >&3; exit 0", ERROR_OPERATION_FAILED,
                        "ended without an answer");
}

static bool
is_process(const struct folder *folder)
{
    g_autoptr(GBytes) text = folder_get(folder, "pid");
    pid_t pid = text && g_bytes_get_size(text) > 0 ? (pid_t)atoi(g_bytes_get_data(text, NULL)) : 0;

    return pid > 0 && kill(pid, 0) == 0;
}

static void
expect_gone(const struct folder *folder)
{
    for (unsigned int turn = 0; is_process(folder) && turn < patient_ms(GONE_TURNS); turn++)
        g_usleep(TURN_US);
    g_assert_false(is_process(folder));
}

/* The one child of this process. */
static pid_t
broker_pid(void)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%d/children", getpid());
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return (pid_t)atoi(text);
}

/* False where the helper has not begun in this time. Once it has, it stops the broker, which would
 * end it, so that who asks can be seen not to wait for that. */
static bool
is_ended_after(unsigned int timeout_ms)
{
    struct folder folder;
    g_autoptr(GError) error = NULL;
    g_autofree char *script = NULL;
    bool has_begun;

    folder_init(&folder);
    script = g_strdup_printf("head -c 1 <&3 >/dev/null; kill -STOP $PPID; echo $$ >%s/pid; "
                             "exec sleep 600",
                             folder.path);
    {
        g_autofree char *program = make_program(folder.path, script);
        g_autoptr(helper_t) helper = helper_start(program, NULL);
        g_auto(helper_reply_t) reply = {0};

        g_assert_false(derive(helper, timeout_ms, &reply, &error));
        expect_error_part(error, ERROR_OPERATION_TIMEOUT, ERROR_FROM_SECRET,
                          "virtcrypt-unlock-helper did not finish argon2id within");
        has_begun = is_process(&folder);
        g_assert_cmpint(kill(broker_pid(), SIGCONT), ==, 0);
        if (has_begun)
            expect_gone(&folder);
    }
    folder_clear(&folder);
    return has_begun;
}

static void
test_a_helper_that_takes_too_long_is_ended(void)
{
    unsigned int timeout_ms = patient_ms(SHORT_MS);

    while (!is_ended_after(timeout_ms)) {
        timeout_ms *= 2;
        g_assert_cmpuint(timeout_ms, <, patient_ms(BOUND_MS));
    }
}

static void
test_the_end_of_the_broker_is_the_end_of_its_helpers(void)
{
    struct folder folder;
    g_autofree char *script = NULL;

    folder_init(&folder);
    script = g_strdup_printf("echo $$ >%s/pid; exec sleep 60", folder.path);
    g_assert_false(run_script(&folder, script, patient_ms(SHORT_MS), NULL));
    expect_gone(&folder);
    folder_clear(&folder);
}

static void
test_environment_and_words_hold_no_key_and_nothing_of_ours(void)
{
    struct folder folder;
    g_autofree char *script = NULL;
    g_autoptr(GBytes) seen = NULL;
    int surprise = open("/dev/null", O_RDONLY); /* not to be closed at an exec */

    folder_init(&folder);
    g_setenv("SURPRISE", "1", TRUE);
    g_setenv("VIRTCRYPT_HELPER_WANTED", "2", TRUE);
    script = g_strdup_printf("exec 9>%s/seen; tr '\\0' '\\n' </proc/$$/environ >&9; "
                             "tr '\\0' ' ' </proc/$$/cmdline >&9; exec 9>&-; "
                             "for fd in 0 1 2 3 4 5 6 7 8; do [ -e /proc/$$/fd/$fd ] && "
                             "printf ' %%s' $fd >>%s/seen; done",
                             folder.path, folder.path);
    g_assert_false(run_script(&folder, script, BOUND_MS, NULL));
    seen = folder_get(&folder, "seen");
    g_assert_nonnull(seen);
    {
        g_autofree char *text = g_strndup(g_bytes_get_data(seen, NULL), g_bytes_get_size(seen));
        g_autofree char *expected = g_strdup_printf(
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nLC_ALL=C\n"
            "TSS2_LOG=all+none\nWANTED=2\n/bin/sh %s/helper argon2id 21  0 1 2 3",
            folder.path);

        g_assert_cmpstr(text, ==, expected);
    }
    g_unsetenv("SURPRISE");
    g_unsetenv("VIRTCRYPT_HELPER_WANTED");
    close(surprise);
    folder_clear(&folder);
}

static void *
derive_in_thread(void *opaque)
{
    g_autoptr(GError) error = NULL;
    g_auto(helper_reply_t) reply = {0};

    derive(opaque, patient_ms(BOUND_MS), &reply, &error);
    g_assert_no_error(error);
    expect_derived(&reply);
    return NULL;
}

static guint
count_descriptors(void)
{
    struct folder folder = {.path = (char *)"/proc/self/fd"};

    return folder_count(&folder);
}

/* More than the broker starts at a time: the rest waits its turn. */
static void
test_many_threads_get_their_answers(void)
{
    g_autofree char *program = real_program();
    g_autoptr(helper_t) helper = helper_start(program, NULL);
    guint before = count_descriptors();
    GThread *threads[THREADS];

    for (unsigned int i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("derive", derive_in_thread, helper);
    for (unsigned int i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    g_assert_cmpuint(count_descriptors(), ==, before);
}

static void
test_descriptors_are_closed_after_a_helper_and_after_all(void)
{
    struct folder folder;
    g_autofree char *program = real_program();
    guint before = count_descriptors();

    folder_init(&folder);
    for (unsigned int i = 0; i < 3; i++) {
        g_autoptr(helper_t) helper = helper_start(program, NULL);
        g_auto(helper_reply_t) reply = {0};

        g_assert_true(derive(helper, BOUND_MS, &reply, NULL));
        g_assert_false(run_script(&folder, "exit 1", BOUND_MS, NULL));
    }
    folder_clear(&folder);
    g_assert_cmpuint(count_descriptors(), ==, before);
}

/* ---- the broker's end ---- */

static guint
count_helpers(void)
{
    g_autofree char *path =
        g_strdup_printf("/proc/%d/task/%d/children", broker_pid(), broker_pid());
    g_autofree char *text = NULL;
    guint count = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (const char *at = text; *at; at++)
        count += *at == ' ';
    return count;
}

/* It would take minutes, and its time is longer. */
static void
test_a_helper_that_nobody_waits_for_ends(void)
{
    g_autofree char *program = real_program();
    g_autoptr(helper_t) helper = helper_start(program, NULL);
    g_autoptr(fields_t) fields = argon2_fields(64 * 1024, 1000, 1);
    g_autoptr(secret_buf_t) key = secret_buf_new_from("password", 8, NULL);
    int ends[2];
    struct helper_request request = {HELPER_ARGON2ID, fields, key, 600000, 0};
    g_autoptr(GError) error = NULL;
    g_auto(helper_reply_t) reply = {0};

    g_assert_cmpint(pipe(ends), ==, 0);
    close(ends[1]); /* readable */
    request.cancel_fd = ends[0];
    g_assert_false(helper_run(helper, &request, &reply, &error));
    expect_error_part(error, ERROR_OPERATION_ABORTED, ERROR_FROM_SECRET, "it was cancelled");
    for (unsigned int turn = 0; turn < patient_ms(GONE_TURNS) && count_helpers() > 0; turn++)
        g_usleep(TURN_US);
    g_assert_cmpuint(count_helpers(), ==, 0);
    close(ends[0]);
}

static void
test_a_broker_that_was_killed_is_an_error_and_no_wait(void)
{
    g_autofree char *program = real_program();
    g_autoptr(helper_t) helper = helper_start(program, NULL);

    g_assert_cmpint(kill(broker_pid(), SIGKILL), ==, 0);
    for (unsigned int i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        g_auto(helper_reply_t) reply = {0};

        g_assert_false(derive(helper, BOUND_MS, &reply, &error));
        expect_error(error, ERROR_OPERATION_FAILED, ERROR_FROM_SECRET,
                     "the process that starts virtcrypt-unlock-helper has ended or does not "
                     "answer: restart the daemon");
    }
}

/* As on a host that was asleep, or has too much to do. */
static void
test_a_broker_that_was_slow_is_asked_again(void)
{
    g_autofree char *program = real_program();
    g_autoptr(helper_t) helper = helper_start(program, NULL);
    g_auto(helper_reply_t) late = {0};
    g_auto(helper_reply_t) reply = {0};
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(kill(broker_pid(), SIGSTOP), ==, 0);
    g_assert_false(derive(helper, BOUND_MS, &late, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_SECRET, "does not answer");
    g_clear_error(&error);
    g_assert_cmpint(kill(broker_pid(), SIGCONT), ==, 0);
    derive(helper, BOUND_MS, &reply, &error);
    g_assert_no_error(error);
}

static void
test_the_broker_outlives_signals_to_all_of_the_daemon(void)
{
    g_autofree char *program = real_program();
    g_autoptr(helper_t) helper = helper_start(program, NULL);
    g_auto(helper_reply_t) reply = {0};
    g_autoptr(GError) error = NULL;

    g_assert_true(derive(helper, BOUND_MS, &reply, NULL)); /* it runs by now */
    helper_reply_clear(&reply);
    g_assert_cmpint(kill(broker_pid(), SIGTERM), ==, 0);
    g_assert_cmpint(kill(broker_pid(), SIGHUP), ==, 0);
    derive(helper, BOUND_MS, &reply, &error);
    g_assert_no_error(error);
}

static void
test_the_broker_ends_with_the_daemon(void)
{
    g_autofree char *program = real_program();
    int ends[2];
    pid_t broker = 0;
    pid_t daemon_pid;

    g_assert_cmpint(pipe(ends), ==, 0);
    daemon_pid = fork();
    if (daemon_pid == 0) {
        helper_start(program, NULL);
        broker = broker_pid();
        if (write(ends[1], &broker, sizeof(broker)) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    g_assert_cmpint(read(ends[0], &broker, sizeof(broker)), ==, sizeof(broker));
    g_assert_cmpint(kill(broker, 0), ==, 0);
    kill(daemon_pid, SIGKILL);
    waitpid(daemon_pid, NULL, 0);
    /* It may be left to a parent that does not wait for it: ended is enough. */
    for (unsigned int turn = 0; turn < patient_ms(GONE_TURNS) && kill(broker, 0) == 0; turn++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", broker);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL) && strstr(text, ") Z "))
            break;
        g_assert_cmpuint(turn, <, patient_ms(GONE_TURNS) - 1);
        g_usleep(TURN_US);
    }
    close(ends[0]);
    close(ends[1]);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/master/helper/argon2id gives the known key",
                    test_argon2id_gives_the_known_key);
    g_test_add_func("/master/helper/a helper that ends without an answer is named",
                    test_a_helper_that_ends_without_an_answer_is_named);
    g_test_add_func("/master/helper/a helper that is killed is named",
                    test_a_helper_that_is_killed_is_named);
    g_test_add_func("/master/helper/a program that is missing is named",
                    test_a_program_that_is_missing_is_named);
    g_test_add_func("/master/helper/an answer of another version is refused",
                    test_an_answer_of_another_version_is_refused);
    g_test_add_func("/master/helper/an answer that claims too much is refused",
                    test_an_answer_that_claims_too_much_is_refused);
    g_test_add_func("/master/helper/an answer with damaged fields is refused",
                    test_an_answer_with_damaged_fields_is_refused);
    g_test_add_func("/master/helper/a cut answer is refused", test_a_cut_answer_is_refused);
    g_test_add_func("/master/helper/a helper that takes too long is ended",
                    test_a_helper_that_takes_too_long_is_ended);
    g_test_add_func("/master/helper/the end of the broker is the end of its helpers",
                    test_the_end_of_the_broker_is_the_end_of_its_helpers);
    g_test_add_func("/master/helper/environment and words hold no key and nothing of ours",
                    test_environment_and_words_hold_no_key_and_nothing_of_ours);
    g_test_add_func("/master/helper/many threads get their answers",
                    test_many_threads_get_their_answers);
    g_test_add_func("/master/helper/descriptors are closed after a helper and after all",
                    test_descriptors_are_closed_after_a_helper_and_after_all);
    g_test_add_func("/master/helper/a helper that nobody waits for ends",
                    test_a_helper_that_nobody_waits_for_ends);
    g_test_add_func("/master/helper/a broker that was killed is an error and no wait",
                    test_a_broker_that_was_killed_is_an_error_and_no_wait);
    g_test_add_func("/master/helper/a broker that was slow is asked again",
                    test_a_broker_that_was_slow_is_asked_again);
    g_test_add_func("/master/helper/the broker outlives signals to all of the daemon",
                    test_the_broker_outlives_signals_to_all_of_the_daemon);
    g_test_add_func("/master/helper/the broker ends with the daemon",
                    test_the_broker_ends_with_the_daemon);
    return g_test_run();
}
