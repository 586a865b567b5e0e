/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the index of generations makes of values at the service: a file from an older backup is
 * refused until it is accepted; whatever a crash can leave, or a lost index, refuses nothing.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "owned.h"
#include "patience.h"
#include "secret/service_import.h"
#include "secret/service_state.h"
#include "secret/value_index.h"
#include "util/big_endian.h"
#include "util/file.h"

enum { BOUND_MS = 10000 };

#define REFUSED(old, new)                                                                          \
    "secret " UUID_1 ": its file has generation " old                                              \
    ", but generation " new " was stored: it was put back from an older backup; put the newest "   \
                            "one back and reload the "                                             \
                            "daemon, or accept it with 'virtcrypt store accept " UUID_1 "'"

static GBytes *
take_key(const struct custodian *test)
{
    return folder_get(&test->secrets, UUID_1 ".key");
}

static void
put_index(const struct custodian *test, GBytes *content)
{
    folder_put(&test->folder, "index", g_bytes_get_data(content, NULL), g_bytes_get_size(content));
}

struct accepted {
    unsigned int calls;
    unsigned int count;
    GError *error;
};

static void
note_accepted(void *opaque, unsigned int count, const GError *error)
{
    struct accepted *accepted = opaque;

    accepted->calls++;
    accepted->count = count;
    accepted->error = error ? g_error_copy(error) : NULL;
}

/* `uuid` NULL: all. */
static GError *
try_accept(struct custodian *test, const char *uuid, unsigned int count)
{
    struct accepted accepted = {0};
    struct uuid id;

    if (uuid)
        id = uuid_of(uuid);
    secret_service_accept(test->service, uuid ? &id : NULL, note_accepted, &accepted);
    secret_service_drain(test->service);
    g_assert_cmpuint(accepted.calls, ==, 1);
    g_assert_cmpuint(accepted.count, ==, count);
    return accepted.error;
}

static void
accept(struct custodian *test, const char *uuid, unsigned int count)
{
    g_autoptr(GError) error = try_accept(test, uuid, count);

    g_assert_no_error(error);
}

/* The floor that the file has, by another reader of it. */
static uint64_t
floor_in_file(const struct custodian *test, const char *uuid)
{
    struct uuid id = uuid_of(uuid);
    gsize len = 0;
    g_autofree char *bytes = NULL;

    if (!g_file_get_contents(test->index, &bytes, &len, NULL))
        return 0;
    for (gsize at = 60; at + 24 + 32 <= len; at += 24) {
        if (memcmp(bytes + at, id.bytes, 16) == 0)
            return big_endian_get((const uint8_t *)bytes + at + 16, 8);
    }
    return 0;
}

/* A backup of the first value is put back after a second one was set. */
static void
roll_back(struct custodian *test)
{
    g_autoptr(GBytes) backup = take_key(test);

    set_value(test, UUID_1, "second");
    custodian_close(test);
    put_first_key(test, backup);
    custodian_open(test);
}

static void
test_an_older_file_is_refused(struct custodian *test, gconstpointer unused)
{
    roll_back(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, REFUSED("1", "2"));
    expect_logged(test, REFUSED("1", "2") "; the value is unavailable, and the file is kept");
    g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, 1);
    custodian_reopen(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, REFUSED("1", "2"));
}

static void
test_the_newest_file_put_back_works_after_a_reload(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) newest = NULL;
    g_autoptr(GBytes) backup = take_key(test);

    set_value(test, UUID_1, "second");
    newest = take_key(test);
    custodian_close(test);
    put_first_key(test, backup);
    custodian_open(test);
    put_first_key(test, newest);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "second");
}

static void
test_an_accepted_file_works_at_once_and_after_a_start(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GPtrArray) lines = NULL;
    bool more = false;

    roll_back(test);
    accept(test, UUID_1, 1);
    expect_value(test, UUID_1, "first");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
    g_assert_cmpuint(floor_in_file(test, UUID_1), ==, 3);
    lines = secret_service_read_audit(test->service, 0, 10, &more, NULL);
    g_assert_cmpuint(lines->len, ==, 1);
    g_assert_nonnull(strstr(g_ptr_array_index(lines, 0),
                            "\"event\":\"accept\",\"secret\":\"" UUID_1 "\",\"guest\":null,"
                            "\"reason\":\"an older value is accepted\",\"generation\":1,"));
}

static void
test_all_are_accepted_at_once(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_2 " volume /b");
    set_value(test, UUID_2, "good");
    roll_back(test);
    accept(test, NULL, 1);
    expect_value(test, UUID_1, "first");
    expect_value(test, UUID_2, "good");
    accept(test, NULL, 0);
}

static void
test_what_is_not_refused_is_not_accepted(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) good = try_accept(test, UUID_1, 0);
    g_autoptr(GError) unknown = try_accept(test, UUID_2, 0);

    expect_error_part(good, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "there is nothing to accept: no file of secret " UUID_1);
    expect_error_part(unknown, ERROR_NO_SECRET, ERROR_FROM_SECRET, UUID_2);
    expect_value(test, UUID_1, "first");
}

static void
test_a_refused_value_can_be_set_again(struct custodian *test, gconstpointer unused)
{
    roll_back(test);
    set_value(test, UUID_1, "third");
    expect_value(test, UUID_1, "third");
    custodian_reopen(test);
    expect_value(test, UUID_1, "third");
}

static void
test_a_refused_secret_can_be_undefined(struct custodian *test, gconstpointer unused)
{
    roll_back(test);
    undefine(test, UUID_1);
    custodian_reopen(test);
    g_assert_cmpuint(floor_in_file(test, UUID_1), ==, 0);
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "new");
    custodian_reopen(test);
    expect_value(test, UUID_1, "new");
}

/* The index that is there when the daemon is killed before it wrote the next one. */
static void
expect_works_with_index_of(struct custodian *test, GBytes *index, const char *value)
{
    custodian_close(test);
    put_index(test, index);
    custodian_open(test);
    expect_value(test, UUID_1, value);
    g_assert_null(secret_service_rollback_problem(test->service));
}

static GBytes *
take_written_index(struct custodian *test)
{
    custodian_reopen(test);
    return folder_get(&test->folder, "index");
}

static void
test_an_index_that_lags_is_made_up_for(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) index = take_written_index(test);

    set_value(test, UUID_1, "second");
    set_value(test, UUID_1, "third");
    expect_works_with_index_of(test, index, "third");
    custodian_close(test);
    g_assert_cmpuint(floor_in_file(test, UUID_1), ==, 3);
    custodian_open(test);
}

static void
test_a_uuid_that_is_used_again_is_above_its_floor(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) index = NULL;

    for (int i = 0; i < 4; i++)
        set_value(test, UUID_1, "fifth");
    index = take_written_index(test);
    undefine(test, UUID_1);
    define(test, UUID_1 " volume /a");
    set_value(test, UUID_1, "another");
    expect_works_with_index_of(test, index, "another");
}

static void
test_a_put_of_such_a_uuid_is_too(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) index = NULL;
    g_autoptr(GError) error = NULL;

    set_value(test, UUID_1, "second");
    index = take_written_index(test);
    undefine(test, UUID_1);
    error = try_put(test, UUID_1 " volume /a", "put", GUEST_1);
    g_assert_no_error(error);
    expect_works_with_index_of(test, index, "put");
}

static void
test_a_clear_value_of_such_a_uuid_is_too(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) index = NULL;

    set_value(test, UUID_1, "second");
    index = take_written_index(test);
    undefine(test, UUID_1);
    custodian_close(test);
    put_index(test, index);
    put_xml(test, UUID_1 " volume /a");
    folder_put_text(&test->secrets, UUID_1 ".base64", "Y2xlYXI=");
    custodian_open(test);
    expect_value(test, UUID_1, "clear");
    expect_works_with_index_of(test, index, "clear");
}

static void
test_an_import_that_is_asked_for_is_noted(struct custodian *test, gconstpointer unused)
{
    const struct timespec later[] = {{time(NULL) + 60, 0}, {time(NULL) + 60, 0}};
    struct secret_import import = {.max = 10};
    g_autoptr(GArray) reports = NULL;
    g_autoptr(GError) error = NULL;

    folder_put_text(&test->secrets, UUID_1 ".base64", "Y2xlYXI=");
    g_assert_cmpint(utimensat(test->secrets.fd, UUID_1 ".base64", later, 0), ==, 0);
    reports = secret_service_import(test->service, &import, &error);
    g_assert_no_error(error);
    expect_value(test, UUID_1, "clear");
    custodian_close(test);
    g_assert_cmpuint(floor_in_file(test, UUID_1), ==, 2);
}

static void
test_a_value_that_was_in_memory_is_too(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) index = NULL;

    set_value(test, UUID_1, "second");
    index = take_written_index(test);
    undefine(test, UUID_1);
    define(test, UUID_1 " volume /a ephemeral");
    set_value(test, UUID_1, "in memory");
    define(test, UUID_1 " volume /a");
    expect_works_with_index_of(test, index, "in memory");
}

static void
test_a_redefinition_keeps_the_value(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) index = NULL;

    set_value(test, UUID_1, "second");
    index = take_written_index(test);
    define(test, UUID_1 " volume /a private");
    define(test, UUID_1 " volume /a private ephemeral");
    define(test, UUID_1 " volume /a private");
    expect_works_with_index_of(test, index, "second");
}

/* All that is there when the index is asked for by a store that had none. */
static void
test_a_store_of_before_gets_one(struct custodian *test, gconstpointer unused)
{
    set_value(test, UUID_1, "second");
    custodian_close(test);
    g_assert_cmpint(g_unlink(test->index), ==, 0);
    custodian_open(test);
    expect_value(test, UUID_1, "second");
    g_assert_null(secret_service_rollback_problem(test->service));
    custodian_reopen(test);
    g_assert_cmpuint(floor_in_file(test, UUID_1), ==, 2);
}

static void
test_a_damaged_index_takes_no_value_away(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) backup = take_key(test);

    set_value(test, UUID_1, "second");
    custodian_close(test);
    folder_put_text(&test->folder, "index", "damaged");
    custodian_open(test);
    expect_value(test, UUID_1, "second");
    g_assert_nonnull(strstr(secret_service_rollback_problem(test->service), "is damaged; it is"));
    expect_logged(test, " is damaged; it is begun anew, and what was put back from an older backup "
                        "before that is not noticed: look into it, then say 'virtcrypt store "
                        "accept'");
    custodian_close(test);
    put_first_key(test, backup);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, REFUSED("1", "2"));
    g_assert_nonnull(secret_service_rollback_problem(test->service));
    accept(test, NULL, 1);
    g_assert_null(secret_service_rollback_problem(test->service));
    custodian_reopen(test);
    g_assert_null(secret_service_rollback_problem(test->service));
    expect_value(test, UUID_1, "first");
}

static void
test_the_loss_is_in_the_audit(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GPtrArray) lines = NULL;
    bool more = false;

    custodian_close(test);
    folder_put_text(&test->folder, "index", "damaged");
    custodian_open(test);
    accept(test, NULL, 0);
    custodian_reopen(test);
    lines = secret_service_read_audit(test->service, 0, 10, &more, NULL);
    g_assert_cmpuint(lines->len, ==, 2);
    g_assert_nonnull(
        strstr(g_ptr_array_index(lines, 0), "\"event\":\"index-lost\",\"secret\":null,"));
    g_assert_nonnull(strstr(g_ptr_array_index(lines, 1), "\"event\":\"accept\",\"secret\":null,"));
}

static void
test_an_index_that_cannot_be_written_holds_nothing_up(struct custodian *test, gconstpointer unused)
{
    g_autofree char *in_the_way = g_strconcat(test->index, ".new", NULL);

    custodian_close(test);
    g_assert_cmpint(g_mkdir(in_the_way, 0700), ==, 0);
    custodian_open(test);
    set_value(test, UUID_1, "second");
    custodian_reopen(test);
    expect_value(test, UUID_1, "second");
    expect_logged(test, "is not written: cannot write the file index: ");
}

/* ---- guests' copies ---- */

static void
test_an_older_copy_beside_a_newest_one_is_put_right(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) old = NULL;

    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    old = get_copy(test, GUEST_1, UUID_1);
    set_value(test, UUID_1, "newer");
    custodian_close(test);
    put_copy(test, GUEST_1, UUID_1, old);
    custodian_open(test);
    expect_value(test, UUID_1, "newer");
    expect_owned_alone(test, UUID_1, GUEST_1, "newer");
}

static void
test_copies_that_are_all_older_are_refused_and_accepted(struct custodian *test,
                                                        gconstpointer unused)
{
    g_autoptr(GBytes) one = NULL;
    g_autoptr(GBytes) two = NULL;

    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    one = get_copy(test, GUEST_1, UUID_1);
    two = get_copy(test, GUEST_2, UUID_1);
    set_value(test, UUID_1, "newer");
    custodian_close(test);
    put_copy(test, GUEST_1, UUID_1, one);
    put_copy(test, GUEST_2, UUID_1, two);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, REFUSED("1", "2"));
    accept(test, UUID_1, 1);
    expect_value(test, UUID_1, "first");
    expect_owned_alone(test, UUID_1, GUEST_1, "first");
    expect_owned_alone(test, UUID_1, GUEST_2, "first");
}

static void
test_a_reload_keeps_the_value_in_memory_beside_older_copies(struct custodian *test,
                                                            gconstpointer unused)
{
    g_autoptr(GBytes) one = NULL;

    bind_to(test, UUID_1, GUEST_1);
    one = get_copy(test, GUEST_1, UUID_1);
    set_value(test, UUID_1, "newer");
    put_copy(test, GUEST_1, UUID_1, one);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "newer");
    expect_logged(test, "its file has generation 1, but generation 2 was stored");
    expect_logged(test, "the value that is in memory stays in use");
}

static void
test_a_file_without_a_definition_keeps_its_floor(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) backup = take_key(test);

    set_value(test, UUID_1, "second");
    custodian_close(test);
    put_first_key(test, backup);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    custodian_open(test);
    define(test, UUID_1 " volume /a");
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, REFUSED("1", "2"));
}

/* ---- when it is written ---- */

struct wait {
    struct custodian *test;
    uint64_t floor;
    gint64 until;
};

static void
look(void *opaque)
{
    const struct wait *wait = opaque;

    g_assert_cmpint(g_get_monotonic_time(), <, wait->until);
    if (floor_in_file(wait->test, UUID_1) == wait->floor)
        loop_quit(wait->test->loop);
}

static void
test_it_is_written_while_the_daemon_runs(struct custodian *test, gconstpointer unused)
{
    struct wait wait = {test, 4, g_get_monotonic_time() + (gint64)patient_ms(BOUND_MS) * 1000};
    struct loop_timer *timer;

    custodian_close(test);
    test->index_delay = 0;
    custodian_open(test);
    for (int i = 0; i < 3; i++)
        set_value(test, UUID_1, "newer");
    timer = loop_timer_new(test->loop, 5, look, &wait);
    loop_run(test->loop);
    loop_timer_free(timer);
}

enum { ROUNDS = 400, LOCK_EVERY = 7, ROUND_US = 1000 };

struct locking {
    struct custodian *test;
    unsigned int rounds;
};

/* Always ready, and before the end of a write in the loop's rounds. */
static void
on_round(uint32_t events, void *opaque)
{
    struct locking *locking = opaque;
    struct custodian *test = locking->test;

    g_usleep(ROUND_US);
    if (++locking->rounds == ROUNDS)
        loop_quit(test->loop);
    if (locking->rounds % LOCK_EVERY != 0)
        return;
    service_lock(test->service, "for a test");
    secret_service_reload(test->service);
    set_value(test, UUID_1, "newer");
}

static void
test_it_can_be_locked_whenever_a_write_ends(struct custodian *test, gconstpointer unused)
{
    struct locking locking = {.test = test};
    g_auto(file_fd) fd = eventfd(1, EFD_CLOEXEC);
    struct loop_watch *watch;

    custodian_close(test);
    test->index_delay = 0;
    custodian_open(test);
    watch = loop_watch_new(test->loop, fd, EPOLLIN, on_round, &locking, NULL);
    loop_run(test->loop);
    loop_watch_free(watch);
    expect_value(test, UUID_1, "newer");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_index/" #name, struct custodian, NULL, custodian_set_up_first,     \
               test_##name, custodian_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(an_older_file_is_refused);
    ADD(the_newest_file_put_back_works_after_a_reload);
    ADD(an_accepted_file_works_at_once_and_after_a_start);
    ADD(all_are_accepted_at_once);
    ADD(what_is_not_refused_is_not_accepted);
    ADD(a_refused_value_can_be_set_again);
    ADD(a_refused_secret_can_be_undefined);
    ADD(an_index_that_lags_is_made_up_for);
    ADD(a_uuid_that_is_used_again_is_above_its_floor);
    ADD(a_put_of_such_a_uuid_is_too);
    ADD(a_clear_value_of_such_a_uuid_is_too);
    ADD(an_import_that_is_asked_for_is_noted);
    ADD(a_value_that_was_in_memory_is_too);
    ADD(a_redefinition_keeps_the_value);
    ADD(a_store_of_before_gets_one);
    ADD(a_damaged_index_takes_no_value_away);
    ADD(the_loss_is_in_the_audit);
    ADD(an_index_that_cannot_be_written_holds_nothing_up);
    ADD(an_older_copy_beside_a_newest_one_is_put_right);
    ADD(copies_that_are_all_older_are_refused_and_accepted);
    ADD(a_reload_keeps_the_value_in_memory_beside_older_copies);
    ADD(a_file_without_a_definition_keeps_its_floor);
    ADD(it_is_written_while_the_daemon_runs);
    ADD(it_can_be_locked_whenever_a_write_ends);
    return g_test_run();
}
