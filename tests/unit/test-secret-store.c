/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The store: changes are whole, in place and durable when they are reported; errors leave the old
 * state; what others put into the folder is left alone.
 */
#include "store_fixture.h"

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

static ino_t
inode_of(struct fixture *test, const char *name)
{
    g_autofree char *path = folder_path(&test->folder, name);
    struct stat info;

    g_assert_cmpint(stat(path, &info), ==, 0);
    return info.st_ino;
}

static void
test_small_content_of_the_same_size_is_written_over(struct fixture *test, gconstpointer unused)
{
    ino_t before;

    commit(test, A, "<a/>", "sealed");
    before = inode_of(test, A ".key");
    commit(test, A, NULL, "SEALED");
    g_assert_cmpuint(inode_of(test, A ".key"), ==, before);
    commit(test, A, NULL, "third!");
    expect_files(test, A, "<a/>", "third!");
    close_store(test);
    open_store(test);
    expect_files(test, A, "<a/>", "third!");
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
}

/* A disk may write the first of two sectors and lose the power before the second. */
static void
test_content_of_more_than_a_sector_gets_a_new_file(struct fixture *test, gconstpointer unused)
{
    g_autofree char *old_key = g_strnfill(513, 'o');
    g_autofree char *new_key = g_strnfill(513, 'n');
    ino_t before;

    commit(test, A, "<a/>", old_key);
    before = inode_of(test, A ".key");
    commit(test, A, NULL, new_key);
    g_assert_cmpuint(inode_of(test, A ".key"), !=, before);
    expect_files(test, A, "<a/>", new_key);
}

static void
test_a_copy_by_a_hard_link_keeps_what_it_has(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GBytes) kept = NULL;

    commit(test, A, "<a/>", "sealed");
    g_assert_cmpint(linkat(test->folder.fd, A ".key", test->journal_folder.fd, "backup", 0), ==, 0);
    commit(test, A, NULL, "SEALED");
    expect_files(test, A, "<a/>", "SEALED");
    kept = folder_get(&test->journal_folder, "backup");
    g_assert_cmpmem(g_bytes_get_data(kept, NULL), g_bytes_get_size(kept), "sealed", 6);
}

static void
test_a_file_that_others_put_in_place_is_the_one_that_changes(struct fixture *test,
                                                             gconstpointer unused)
{
    commit(test, A, "<a/>", "sealed");
    commit(test, A, NULL, "SEALED");
    folder_put_text(&test->folder, "restored", "backup");
    g_assert_cmpint(renameat(test->folder.fd, "restored", test->folder.fd, A ".key"), ==, 0);
    commit(test, A, NULL, "newest");
    expect_files(test, A, "<a/>", "newest");
}

static void
test_a_file_that_others_may_read_is_replaced_by_a_private_one(struct fixture *test,
                                                              gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->folder, A ".key");
    struct stat info;

    commit(test, A, "<a/>", "sealed");
    g_assert_cmpint(chmod(path, 0644), ==, 0);
    commit(test, A, NULL, "SEALED");
    g_assert_cmpint(stat(path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
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

/* A descriptor shows what became of the bytes. */
static void
test_sealed_bytes_are_overwritten_before_they_are_removed(struct fixture *test,
                                                          gconstpointer unused)
{
    static const char zeros[6];
    char found[sizeof(zeros) + 1];
    int fd;

    commit(test, A, "<a/>", "sealed");
    fd = openat(test->folder.fd, A ".key", O_RDONLY | O_CLOEXEC);
    commit(test, A, "", "");
    g_assert_cmpint(read(fd, found, sizeof(found)), ==, sizeof(zeros));
    g_assert_cmpmem(found, sizeof(zeros), zeros, sizeof(zeros));
    close(fd);
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
    folder_put_text(&test->folder, A ".aes256cbc", "eA==");
    expect_list(test, "aaaaaaaa:xka bbbbbbbb:x-b ");
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
        A ".aes256gcm",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        folder_put_text(&test->folder, names[i], "x");
    g_assert_cmpint(symlinkat("README", test->folder.fd, B ".key.new"), ==, 0);
    close_store(test);
    open_store(test);
    expect_list(test, "");
    g_assert_cmpuint(folder_count(&test->folder), ==, G_N_ELEMENTS(names) + 1);
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
test_folder_in_the_place_of_a_removed_file_is_refused(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, "", "");

    commit(test, A, NULL, "sealed");
    g_assert_cmpint(mkdirat(test->folder.fd, A ".xml", 0700), ==, 0);
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID,
                        A ".xml is not a regular file; move it away");
    commit(test, B, "<b/>", NULL);
    expect_files(test, A, NULL, "sealed");
}

static void
test_folder_in_the_place_of_a_staged_file_is_refused(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, "<a/>", NULL);

    g_assert_cmpint(mkdirat(test->folder.fd, A ".xml.new", 0700), ==, 0);
    expect_commit_error(test, &change, ERROR_SYSTEM, "cannot make the file " A ".xml.new: ");
    commit(test, B, "<b/>", NULL);
}

/* So that a secret whose value can't be read is not taken for one without a value. */
static void
test_links_and_folders_under_a_secrets_name_are_listed(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) xml_error = NULL;
    g_autoptr(GError) key_error = NULL;
    struct uuid uuid;

    g_assert_true(uuid_parse(A, &uuid));
    g_assert_cmpint(mkdirat(test->folder.fd, A ".xml", 0700), ==, 0);
    g_assert_cmpint(symlinkat("README", test->folder.fd, A ".key"), ==, 0);
    close_store(test);
    open_store(test);
    expect_list(test, "aaaaaaaa:xk- ");
    g_assert_null(store_read_xml(test->store, &uuid, &xml_error));
    g_assert_cmpstr(xml_error->message, ==, A ".xml is not a regular file");
    g_assert_null(store_read_key(test->store, &uuid, &key_error));
    g_assert_cmpint(error_get_errno(key_error), ==, ELOOP);
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
    submit(test, C, "<c/>", large);
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
submit_another(void *opaque, const GError *error)
{
    struct fixture *test = opaque;

    g_assert_no_error(error);
    test->expected--;
    submit(test, B, "<b/>", NULL);
}

static void
test_drain_waits_for_what_is_submitted_meanwhile(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, "<a/>", "sealed");

    test->expected = 1;
    store_submit(test->store, &change, submit_another, test);
    store_drain(test->store);
    g_assert_cmpuint(test->expected, ==, 0);
    expect_list(test, "aaaaaaaa:xk- bbbbbbbb:x-- ");
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
test_second_store_on_the_folder_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *other = folder_path(&test->journal_folder, "other");
    g_autoptr(store_t) second = open_store_at(test->folder.path, other, NULL, &error);

    g_assert_null(second);
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_SECRET,
                      "is in use by another process; is the daemon running already?");
}

static void
test_second_store_on_the_journal_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *other = folder_path(&test->journal_folder, "other");
    g_autoptr(store_t) second = open_store_at(other, test->journal_folder.path, NULL, &error);

    g_assert_null(second);
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_SECRET,
                      "/journal is in use by another process; is the daemon running already?");
}

static void
test_folders_are_made_private(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = folder_path(&test->journal_folder, "a/secrets");
    g_autofree char *journal_dir = folder_path(&test->journal_folder, "b/journal");
    g_autoptr(store_t) store = open_store_at(dir, journal_dir, NULL, &error);
    struct stat info;

    g_assert_no_error(error);
    g_assert_nonnull(store);
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
    test->store = open_store_at(test->folder.path, test->folder.path, test->loop, &error);
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
    ADD(small_content_of_the_same_size_is_written_over);
    ADD(content_of_more_than_a_sector_gets_a_new_file);
    ADD(a_copy_by_a_hard_link_keeps_what_it_has);
    ADD(a_file_that_others_put_in_place_is_the_one_that_changes);
    ADD(a_file_that_others_may_read_is_replaced_by_a_private_one);
    ADD(removed_secret_leaves_no_file);
    ADD(removing_what_is_not_there_is_no_error);
    ADD(sealed_bytes_are_overwritten_before_they_are_removed);
    ADD(missing_file_is_told_by_its_errno);
    ADD(list_is_in_order_and_merged);
    ADD(list_after_a_restart_is_the_same);
    ADD(first_list_knows_of_changes_before_it);
    ADD(foreign_names_are_skipped_and_kept);
    ADD(link_in_the_place_of_a_staged_file_is_not_followed);
    ADD(link_in_the_place_of_a_file_is_refused);
    ADD(link_in_the_place_of_a_removed_file_is_not_followed);
    ADD(folder_in_the_place_of_a_removed_file_is_refused);
    ADD(folder_in_the_place_of_a_staged_file_is_refused);
    ADD(links_and_folders_under_a_secrets_name_are_listed);
    ADD(too_large_xml_is_refused);
    ADD(too_large_key_is_refused);
    ADD(largest_files_are_taken_again_and_again);
    ADD(submitted_changes_are_reported_in_the_loop);
    ADD(bad_change_does_not_harm_the_others_of_its_batch);
    ADD(drain_waits_and_reports);
    ADD(drain_waits_for_what_is_submitted_meanwhile);
    ADD(closing_commits_what_was_submitted);
    ADD(second_store_on_the_folder_is_refused);
    ADD(second_store_on_the_journal_is_refused);
    ADD(folders_are_made_private);
    ADD(journal_may_lie_in_the_folder_of_secrets);
    ADD(reader_never_misses_the_file);
    return g_test_run();
}
