/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The store: changes are whole, in place and durable when they are reported; errors leave the old
 * state; what others put into the folder is left alone.
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "secret/journal.h"
#include "secret/store.h"
#include "secret/store_change.h"

#define A "aaaaaaaa-0000-4000-8000-000000000001"
#define B "bbbbbbbb-0000-4000-8000-000000000002"

enum { CAPACITY = 2 * 1024 * 1024 };

struct fixture {
    struct folder folder;         /* of secrets */
    struct folder journal_folder; /* beside it */
    struct loop *loop;
    struct store *store;
    guint expected; /* completions to wait for */
    GString *log;   /* what completions said */
};

static void
open_store(struct fixture *test)
{
    g_autoptr(GError) error = NULL;

    test->store = store_open(test->folder.path, test->journal_folder.path, test->loop, &error);
    g_assert_no_error(error);
    g_assert_nonnull(test->store);
}

static void
close_store(struct fixture *test)
{
    g_clear_pointer(&test->store, store_free);
}

static void
set_up(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    folder_init(&test->folder);
    folder_init(&test->journal_folder);
    test->loop = loop_new(&error);
    g_assert_no_error(error);
    test->log = g_string_new(NULL);
    open_store(test);
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    close_store(test);
    loop_free(test->loop);
    g_string_free(test->log, TRUE);
    folder_clear(&test->folder);
    folder_clear(&test->journal_folder);
}

/* NULL: keep; "": remove; else write. */
static struct store_change
change_of(const char *uuid, const char *xml, const char *key)
{
    struct store_change change = {0};

    g_assert_true(uuid_parse(uuid, &change.uuid));
    if (xml) {
        change.xml_action = *xml ? STORE_WRITE : STORE_REMOVE;
        change.xml = *xml ? g_bytes_new(xml, strlen(xml)) : NULL;
    }
    if (key) {
        change.key_action = *key ? STORE_WRITE : STORE_REMOVE;
        change.key = *key ? g_bytes_new(key, strlen(key)) : NULL;
    }
    return change;
}

static void
commit(struct fixture *test, const char *uuid, const char *xml, const char *key)
{
    g_autoptr(GError) error = NULL;
    struct store_change change = change_of(uuid, xml, key);

    g_assert_true(store_commit(test->store, &change, &error));
    g_assert_no_error(error);
    g_assert_null(change.xml);
    g_assert_null(change.key);
}

static void
expect_commit_error(struct fixture *test, struct store_change *change, enum error_code code,
                    const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(store_commit(test->store, change, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
}

static char *
text_of(GBytes *bytes)
{
    return bytes ? g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)) : NULL;
}

static void
expect_files(struct fixture *test, const char *uuid_text, const char *xml, const char *key)
{
    struct uuid uuid;
    g_autoptr(GBytes) xml_bytes = NULL;
    g_autoptr(GBytes) key_bytes = NULL;
    g_autofree char *xml_found = NULL;
    g_autofree char *key_found = NULL;

    g_assert_true(uuid_parse(uuid_text, &uuid));
    xml_bytes = store_read_xml(test->store, &uuid, NULL);
    key_bytes = store_read_key(test->store, &uuid, NULL);
    xml_found = text_of(xml_bytes);
    key_found = text_of(key_bytes);
    g_assert_cmpstr(xml_found, ==, xml);
    g_assert_cmpstr(key_found, ==, key);
}

/* The list as "aaaaaaaa:xkb bbbbbbbb:x-- ". */
static char *
list_text(struct fixture *test)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) entries = store_list(test->store, &error);
    GString *text = g_string_new(NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < entries->len; i++) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i);
        char uuid[UUID_TEXT_SIZE];

        g_string_append_printf(text, "%.8s:%c%c%c ", uuid_format(&entry->uuid, uuid),
                               entry->has_xml ? 'x' : '-', entry->has_key ? 'k' : '-',
                               entry->has_base64 ? 'b' : '-');
    }
    return g_string_free(text, FALSE);
}

static void
expect_list(struct fixture *test, const char *expected)
{
    g_autofree char *text = list_text(test);

    g_assert_cmpstr(text, ==, expected);
}

static void
test_new_store_is_empty(struct fixture *test, gconstpointer unused)
{
    expect_list(test, "");
}

static void
test_written_files_can_be_read(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    expect_files(test, A, "<a/>", "sealed");
    expect_list(test, "aaaaaaaa:xk- ");
}

static void
test_files_are_private_and_have_libvirts_names(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->folder, A ".key");
    g_autofree char *xml_path = folder_path(&test->folder, A ".xml");
    struct stat info;

    commit(test, A, "<a/>", "sealed");
    g_assert_cmpint(stat(path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpint(stat(xml_path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
}

static void
test_kept_file_stays_when_the_other_changes(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    commit(test, A, NULL, "sealed again");
    expect_files(test, A, "<a/>", "sealed again");
    commit(test, A, "<b/>", NULL);
    expect_files(test, A, "<b/>", "sealed again");
    commit(test, A, NULL, "");
    expect_files(test, A, "<b/>", NULL);
}

static void
test_removed_secret_leaves_no_file(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    commit(test, A, "", "");
    expect_list(test, "");
    g_assert_cmpuint(folder_count(&test->folder), ==, 0);
}

static void
test_removing_what_is_not_there_is_no_error(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "", "");
    expect_list(test, "");
}

/* A second name shows what became of the bytes. */
static void
test_sealed_bytes_are_overwritten_before_they_are_removed(struct fixture *test,
                                                          gconstpointer unused)
{
    static const char zeros[6];
    g_autoptr(GBytes) expected = g_bytes_new_static(zeros, sizeof(zeros));

    commit(test, A, "<a/>", "sealed");
    g_assert_cmpint(linkat(test->folder.fd, A ".key", test->journal_folder.fd, "second name", 0),
                    ==, 0);
    commit(test, A, "", "");
    folder_expect(&test->journal_folder, "second name", expected);
}

static void
test_missing_file_is_told_by_its_errno(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct uuid uuid = {{1}};
    g_autoptr(GBytes) bytes = store_read_key(test->store, &uuid, &error);

    g_assert_null(bytes);
    g_assert_true(error_is(error, ERROR_SYSTEM));
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
}

static void
test_list_is_in_order_and_merged(struct fixture *test, gconstpointer unused)
{
    commit(test, B, "<b/>", NULL);
    commit(test, A, "<a/>", "sealed");
    folder_put_text(&test->folder, B ".base64", "eA==");
    expect_list(test, "aaaaaaaa:xk- bbbbbbbb:x-b ");
}

static void
test_list_after_a_restart_is_the_same(struct fixture *test, gconstpointer unused)
{
    commit(test, B, "<b/>", "sealed");
    commit(test, A, "<a/>", NULL);
    close_store(test);
    open_store(test);
    expect_list(test, "aaaaaaaa:x-- bbbbbbbb:xk- ");
    expect_list(test, "aaaaaaaa:x-- bbbbbbbb:xk- ");
}

static void
test_first_list_knows_of_changes_before_it(struct fixture *test, gconstpointer unused)
{
    close_store(test);
    open_store(test);
    commit(test, A, "<a/>", NULL);
    expect_list(test, "aaaaaaaa:x-- ");
}

static void
test_foreign_names_are_skipped_and_kept(struct fixture *test, gconstpointer unused)
{
    static const char *const names[] = {
        "README",
        A,
        A ".xml~",
        A ".xml.new.old",
        "AAAAAAAA-0000-4000-8000-000000000001.xml",
        "aaaaaaaa000040008000000000000001.xml",
        ".xml",
        A ".aes256cbc",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        folder_put_text(&test->folder, names[i], "x");
    g_assert_cmpint(mkdirat(test->folder.fd, B ".xml", 0700), ==, 0);
    g_assert_cmpint(symlinkat("README", test->folder.fd, B ".key"), ==, 0);
    close_store(test);
    open_store(test);
    expect_list(test, "");
    g_assert_cmpuint(folder_count(&test->folder), ==, G_N_ELEMENTS(names) + 2);
}

static void
test_staged_files_of_a_crash_are_removed_at_start(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    close_store(test);
    folder_put_text(&test->folder, A ".xml.new", "<half");
    folder_put_text(&test->folder, B ".key.new", "");
    open_store(test);
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_staged_files_in_the_way_are_replaced(struct fixture *test, gconstpointer unused)
{
    folder_put_text(&test->folder, A ".key.new", "left by a change that failed");
    commit(test, A, "<a/>", "sealed");
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_link_in_the_place_of_a_staged_file_is_not_followed(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) precious = g_bytes_new_static("precious", 8);

    folder_put_text(&test->journal_folder, "victim", "precious");
    {
        g_autofree char *victim = folder_path(&test->journal_folder, "victim");

        g_assert_cmpint(symlinkat(victim, test->folder.fd, A ".key.new"), ==, 0);
    }
    commit(test, A, "<a/>", "sealed");
    folder_expect(&test->journal_folder, "victim", precious);
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_link_in_the_place_of_a_file_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) precious = g_bytes_new_static("precious", 8);
    g_autofree char *victim = folder_path(&test->journal_folder, "victim");
    struct store_change change = change_of(A, "<a/>", "sealed");

    folder_put_text(&test->journal_folder, "victim", "precious");
    g_assert_cmpint(symlinkat(victim, test->folder.fd, A ".key"), ==, 0);
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID,
                        A ".key is not a regular file; move it away");
    folder_expect(&test->journal_folder, "victim", precious);
    folder_expect_none(&test->folder, A ".xml");
    folder_expect_none(&test->folder, A ".xml.new");
}

static void
test_link_in_the_place_of_a_removed_file_is_not_followed(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) precious = g_bytes_new_static("precious", 8);
    g_autofree char *victim = folder_path(&test->journal_folder, "victim");

    folder_put_text(&test->journal_folder, "victim", "precious");
    g_assert_cmpint(symlinkat(victim, test->folder.fd, A ".key"), ==, 0);
    commit(test, A, "", "");
    folder_expect(&test->journal_folder, "victim", precious);
    folder_expect_none(&test->folder, A ".key");
}

static void
test_too_large_xml_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autofree char *xml = g_strnfill(STORE_XML_MAX + 1, 'x');
    struct store_change change = change_of(A, xml, NULL);

    expect_commit_error(test, &change, ERROR_INVALID_ARG,
                        "the XML of secret " A " has 1048577 bytes, more than the maximum of "
                        "1048576");
    g_assert_cmpuint(folder_count(&test->folder), ==, 0);
}

static void
test_too_large_key_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autofree char *key = g_strnfill(STORE_KEY_MAX + 1, 'x');
    struct store_change change = change_of(A, NULL, key);

    expect_commit_error(test, &change, ERROR_INVALID_ARG, "the sealed value of secret " A " has ");
}

static void
test_largest_files_are_taken_again_and_again(struct fixture *test, gconstpointer unused)
{
    g_autofree char *xml = g_strnfill(STORE_XML_MAX, 'x');
    g_autofree char *key = g_strnfill(STORE_KEY_MAX, 'k');

    for (int i = 0; i < 4; i++)
        commit(test, A, xml, key);
    expect_files(test, A, xml, key);
}

/* A full disk, as far as one process can have it: writes behind the limit fail. */
static void
limit_file_size(size_t size)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    limit.rlim_cur = size > 0 ? size : limit.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

static void
test_failed_staging_changes_nothing(struct fixture *test, gconstpointer unused)
{
    g_autofree char *key = g_strnfill(STORE_KEY_MAX, 'k');
    struct store_change change = change_of(A, "<new/>", key);

    commit(test, A, "<a/>", "sealed");
    limit_file_size(20000);
    expect_commit_error(test, &change, ERROR_SYSTEM, "cannot write the file " A ".key.new: ");
    limit_file_size(0);
    expect_files(test, A, "<a/>", "sealed");
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
    commit(test, A, "<b/>", "sealed again");
    expect_files(test, A, "<b/>", "sealed again");
}

static void
test_failed_journal_changes_nothing(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, "<new/>", "new");

    commit(test, A, "<a/>", "sealed");
    limit_file_size(1000);
    expect_commit_error(test, &change, ERROR_SYSTEM,
                        "it is not known whether the change will be there after the daemon's next "
                        "start");
    change = change_of(B, "<b/>", "other");
    expect_commit_error(test, &change, ERROR_SYSTEM,
                        "nothing was changed, since an earlier change could not be finished: ");
    limit_file_size(0);
    expect_files(test, A, "<a/>", "sealed");
    expect_list(test, "aaaaaaaa:xk- ");
    commit(test, B, "<b/>", "other");
    close_store(test);
    open_store(test);
    expect_files(test, A, "<a/>", "sealed");
    expect_files(test, B, "<b/>", "other");
}

static void
note_done(void *opaque, const GError *error)
{
    struct fixture *test = opaque;

    g_string_append(test->log, error ? "error " : "done ");
    if (--test->expected == 0)
        loop_quit(test->loop);
}

static void
submit(struct fixture *test, const char *uuid, const char *xml, const char *key)
{
    struct store_change change = change_of(uuid, xml, key);

    test->expected++;
    store_submit(test->store, &change, note_done, test);
}

static void
test_submitted_changes_are_reported_in_the_loop(struct fixture *test, gconstpointer unused)
{
    submit(test, A, "<a/>", "sealed");
    submit(test, B, "<b/>", NULL);
    g_assert_cmpstr(test->log->str, ==, "");
    loop_run(test->loop);
    g_assert_cmpstr(test->log->str, ==, "done done ");
    expect_files(test, A, "<a/>", "sealed");
    expect_files(test, B, "<b/>", NULL);
}

static void
test_bad_change_does_not_harm_the_others_of_its_batch(struct fixture *test, gconstpointer unused)
{
    g_autofree char *large = g_strnfill(STORE_KEY_MAX + 1, 'k');

    submit(test, A, "<a/>", "sealed");
    submit(test, "cccccccc-0000-4000-8000-000000000003", "<c/>", large);
    submit(test, B, "<b/>", NULL);
    loop_run(test->loop);
    g_assert_cmpstr(test->log->str, ==, "done error done ");
    expect_list(test, "aaaaaaaa:xk- bbbbbbbb:x-- ");
}

static void
test_drain_waits_and_reports(struct fixture *test, gconstpointer unused)
{
    for (int i = 0; i < 200; i++) {
        g_autofree char *uuid = g_strdup_printf("aaaaaaaa-0000-4000-8000-%012d", i);

        submit(test, uuid, "<a/>", "sealed");
    }
    store_drain(test->store);
    g_assert_cmpuint(test->expected, ==, 0);
    g_assert_cmpuint(folder_count(&test->folder), ==, 400);
}

static void
test_closing_commits_what_was_submitted(struct fixture *test, gconstpointer unused)
{
    submit(test, A, "<a/>", "sealed");
    close_store(test);
    g_assert_cmpstr(test->log->str, ==, "");
    open_store(test);
    expect_files(test, A, "<a/>", "sealed");
    test->expected = 0;
}

/* More than fits into the journal at a time, each change with its own content. */
static void
test_many_changes_pass_through_a_small_journal(struct fixture *test, gconstpointer unused)
{
    g_autofree char *filler = g_strnfill(60000, 'k');

    for (int i = 0; i < 100; i++) {
        g_autofree char *uuid = g_strdup_printf("aaaaaaaa-0000-4000-8000-%012d", i);
        g_autofree char *key = g_strdup_printf("%d %s", i, filler);

        submit(test, uuid, "<a/>", key);
    }
    loop_run(test->loop);
    g_assert_null(strstr(test->log->str, "error"));
    close_store(test);
    open_store(test);
    for (int i = 0; i < 100; i++) {
        g_autofree char *uuid = g_strdup_printf("aaaaaaaa-0000-4000-8000-%012d", i);
        g_autofree char *key = g_strdup_printf("%d %s", i, filler);

        expect_files(test, uuid, "<a/>", key);
    }
}

static guint
count_journal_bytes(const struct fixture *test)
{
    g_autoptr(GBytes) journal = folder_get(&test->journal_folder, "journal");
    gsize len = 0;
    const char *bytes = g_bytes_get_data(journal, &len);
    guint count = 0;

    for (gsize i = 8192; i < len; i++)
        count += bytes[i] != 0;
    return count;
}

static void
test_checkpoint_empties_the_journal(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    commit(test, A, "<a/>", "sealed");
    g_assert_cmpuint(count_journal_bytes(test), >, 0);
    g_assert_true(store_checkpoint(test->store, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
}

static void
test_idle_store_empties_the_journal_by_itself(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    for (int i = 0; i < 1000 && count_journal_bytes(test) > 0; i++)
        g_usleep(20000);
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_closed_store_leaves_an_empty_journal(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    close_store(test);
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
}

/* Writes a journal as a killed daemon leaves it. */
static void
put_record(struct fixture *test, struct store_change change)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) record = store_change_format(&change);
    g_autoptr(journal_t) journal =
        journal_open(test->journal_folder.fd, "journal", CAPACITY, &error);

    g_assert_no_error(error);
    journal_append(journal, g_bytes_get_data(record, NULL), g_bytes_get_size(record));
    g_assert_true(journal_commit(journal, NULL));
    store_change_clear(&change);
}

static void
test_committed_change_is_finished_at_the_next_start(struct fixture *test, gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    commit(test, B, "<b/>", "sealed");
    close_store(test);
    put_record(test, change_of(A, "<new/>", "new"));
    put_record(test, change_of(B, "", ""));
    open_store(test);
    expect_files(test, A, "<new/>", "new");
    expect_list(test, "aaaaaaaa:xk- ");
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
}

static void
test_last_of_several_committed_changes_counts(struct fixture *test, gconstpointer unused)
{
    close_store(test);
    put_record(test, change_of(A, "<one/>", "one"));
    put_record(test, change_of(A, NULL, "two"));
    put_record(test, change_of(A, "<three/>", NULL));
    put_record(test, change_of(B, "<b/>", "b"));
    put_record(test, change_of(B, NULL, ""));
    open_store(test);
    expect_files(test, A, "<three/>", "two");
    expect_files(test, B, "<b/>", NULL);
}

static void
test_replay_of_finished_changes_changes_nothing(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->folder, A ".key");
    struct stat before;
    struct stat after;

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    g_assert_cmpint(stat(path, &before), ==, 0);
    put_record(test, change_of(A, "<a/>", "sealed"));
    open_store(test);
    g_assert_cmpint(stat(path, &after), ==, 0);
    g_assert_cmpuint(before.st_ino, ==, after.st_ino);
    expect_files(test, A, "<a/>", "sealed");
}

static void
test_record_that_is_no_change_stops_the_start(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(journal_t) journal = NULL;

    close_store(test);
    journal = journal_open(test->journal_folder.fd, "journal", CAPACITY, NULL);
    journal_append(journal, "nonsense", 8);
    g_assert_true(journal_commit(journal, NULL));
    g_clear_pointer(&journal, journal_free);
    test->store = store_open(test->folder.path, test->journal_folder.path, NULL, &error);
    g_assert_null(test->store);
    expect_error_part(error, ERROR_INTERNAL, ERROR_FROM_SECRET,
                      "cannot finish the changes that the journal in ");
}

static void
test_damaged_journal_is_put_aside(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) damaged = g_bytes_new_static("damaged", 7);

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    folder_put_text(&test->journal_folder, "journal", "damaged");
    open_store(test);
    folder_expect(&test->journal_folder, "journal.damaged.1", damaged);
    expect_files(test, A, "<a/>", "sealed");
    commit(test, B, "<b/>", NULL);
    close_store(test);
    folder_put_text(&test->journal_folder, "journal", "damaged");
    open_store(test);
    folder_expect(&test->journal_folder, "journal.damaged.2", damaged);
}

static void
test_second_store_on_the_folder_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *other = folder_path(&test->journal_folder, "other");
    g_autoptr(store_t) second = store_open(test->folder.path, other, NULL, &error);

    g_assert_null(second);
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_SECRET,
                      "is in use by another process; is the daemon running already?");
}

static void
test_folders_are_made_private(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = folder_path(&test->journal_folder, "a/secrets");
    g_autofree char *journal_dir = folder_path(&test->journal_folder, "b/journal");
    g_autoptr(store_t) store = store_open(dir, journal_dir, NULL, &error);
    struct stat info;

    g_assert_no_error(error);
    g_assert_cmpint(stat(dir, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
    g_assert_cmpint(stat(journal_dir, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
}

static void
test_journal_may_lie_in_the_folder_of_secrets(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    close_store(test);
    test->store = store_open(test->folder.path, test->folder.path, test->loop, &error);
    g_assert_no_error(error);
    commit(test, A, "<a/>", "sealed");
    expect_list(test, "aaaaaaaa:xk- ");
}

/* Reads during changes: always a whole old or new file, never none. */
static gpointer
read_all_the_time(gpointer opaque)
{
    struct fixture *test = opaque;
    struct uuid uuid;
    guint64 reads = 0;

    g_assert_true(uuid_parse(A, &uuid));
    for (;;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) key = store_read_key(test->store, &uuid, &error);
        g_autofree char *text = text_of(key);

        g_assert_no_error(error);
        reads++;
        if (strcmp(text, "stop") == 0)
            return GSIZE_TO_POINTER(reads);
        g_assert_true(g_str_has_prefix(text, "value ") && g_str_has_suffix(text, " end"));
    }
}

static void
test_reader_never_misses_the_file(struct fixture *test, gconstpointer unused)
{
    GThread *reader;

    commit(test, A, NULL, "value 0 end");
    reader = g_thread_new("reader", read_all_the_time, test);
    for (int i = 0; i < 200; i++) {
        g_autofree char *key = g_strdup_printf("value %d end", i);

        commit(test, A, NULL, key);
    }
    commit(test, A, NULL, "stop");
    g_assert_cmpuint(GPOINTER_TO_SIZE(g_thread_join(reader)), >, 0);
}

static void
test_record_of_a_change_is_read_back(void)
{
    struct store_change change = change_of(A, "<a/>", "");
    g_autoptr(GBytes) record = store_change_format(&change);
    g_auto(store_change_t) parsed = {0};

    g_assert_cmpuint(g_bytes_get_size(record), ==, store_change_record_size(&change));
    g_assert_true(
        store_change_parse(g_bytes_get_data(record, NULL), g_bytes_get_size(record), &parsed));
    g_assert_true(uuid_equal(&parsed.uuid, &change.uuid));
    g_assert_cmpint(parsed.xml_action, ==, STORE_WRITE);
    g_assert_true(g_bytes_equal(parsed.xml, change.xml));
    g_assert_cmpint(parsed.key_action, ==, STORE_REMOVE);
    g_assert_null(parsed.key);
    store_change_clear(&change);
}

static void
test_malformed_records_are_refused(void)
{
    struct store_change change = change_of(A, "<a/>", "sealed");
    g_autoptr(GBytes) record = store_change_format(&change);
    gsize len = 0;
    const uint8_t *bytes = g_bytes_get_data(record, &len);
    struct store_change parsed = {0};

    for (gsize cut = 0; cut < len; cut++)
        g_assert_false(store_change_parse(bytes, cut, &parsed));
    for (gsize at = 0; at < STORE_CHANGE_HEAD_SIZE; at++) {
        g_autofree uint8_t *spoilt = g_memdup2(bytes, len);
        bool is_uuid = at >= 8 && at < 24;

        if (is_uuid || (at > 1 && at < 8))
            continue;
        spoilt[at] ^= 0x80;
        g_assert_false(store_change_parse(spoilt, len, &parsed));
    }
    store_change_clear(&change);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/store/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(new_store_is_empty);
    ADD(written_files_can_be_read);
    ADD(files_are_private_and_have_libvirts_names);
    ADD(kept_file_stays_when_the_other_changes);
    ADD(removed_secret_leaves_no_file);
    ADD(removing_what_is_not_there_is_no_error);
    ADD(sealed_bytes_are_overwritten_before_they_are_removed);
    ADD(missing_file_is_told_by_its_errno);
    ADD(list_is_in_order_and_merged);
    ADD(list_after_a_restart_is_the_same);
    ADD(first_list_knows_of_changes_before_it);
    ADD(foreign_names_are_skipped_and_kept);
    ADD(staged_files_of_a_crash_are_removed_at_start);
    ADD(staged_files_in_the_way_are_replaced);
    ADD(link_in_the_place_of_a_staged_file_is_not_followed);
    ADD(link_in_the_place_of_a_file_is_refused);
    ADD(link_in_the_place_of_a_removed_file_is_not_followed);
    ADD(too_large_xml_is_refused);
    ADD(too_large_key_is_refused);
    ADD(largest_files_are_taken_again_and_again);
    ADD(failed_staging_changes_nothing);
    ADD(failed_journal_changes_nothing);
    ADD(submitted_changes_are_reported_in_the_loop);
    ADD(bad_change_does_not_harm_the_others_of_its_batch);
    ADD(drain_waits_and_reports);
    ADD(closing_commits_what_was_submitted);
    ADD(many_changes_pass_through_a_small_journal);
    ADD(checkpoint_empties_the_journal);
    ADD(idle_store_empties_the_journal_by_itself);
    ADD(closed_store_leaves_an_empty_journal);
    ADD(committed_change_is_finished_at_the_next_start);
    ADD(last_of_several_committed_changes_counts);
    ADD(replay_of_finished_changes_changes_nothing);
    ADD(record_that_is_no_change_stops_the_start);
    ADD(damaged_journal_is_put_aside);
    ADD(second_store_on_the_folder_is_refused);
    ADD(folders_are_made_private);
    ADD(journal_may_lie_in_the_folder_of_secrets);
    ADD(reader_never_misses_the_file);
    g_test_add_func("/secret/store_change/record_of_a_change_is_read_back",
                    test_record_of_a_change_is_read_back);
    g_test_add_func("/secret/store_change/malformed_records_are_refused",
                    test_malformed_records_are_refused);
    return g_test_run();
}
