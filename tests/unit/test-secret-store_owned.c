/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Copies that guests own, and the audit, as the store's callers see them.
 */
#include "conf/audit_line.h"
#include "store_fixture.h"

#define G1 "11111111-0000-4000-8000-000000000001"
#define G2 "22222222-0000-4000-8000-000000000002"

#define ID_1 "00000000-0000-4000-8000-000000000001"
#define ID_2 "00000000-0000-4000-8000-000000000002"

static struct uuid
uuid_of(const char *text)
{
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return uuid;
}

/* "": removes it. */
static void
add_copy(struct store_change *change, const char *guest_text, const char *key)
{
    struct uuid guest = uuid_of(guest_text);
    g_autoptr(GBytes) bytes = *key ? g_bytes_new(key, strlen(key)) : NULL;

    store_change_add_owner(change, &guest, *key ? STORE_WRITE : STORE_REMOVE, bytes);
}

static void
add_audit(struct store_change *change, const char *id)
{
    change->audit = g_strdup_printf("\"event\":\"test\",\"id\":\"%s\"", id);
}

static void
commit_change(struct fixture *test, struct store_change *change)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(store_commit(test->store, change, &error));
    g_assert_no_error(error);
    g_assert_null(change->owners);
    g_assert_null(change->audit);
}

static void
commit_copy(struct fixture *test, const char *secret, const char *guest, const char *key)
{
    struct store_change change = change_of(secret, NULL, NULL);

    add_copy(&change, guest, key);
    commit_change(test, &change);
}

/* The list as "aaaaaaaa/11111111=copy ". */
static void
expect_owned(struct fixture *test, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) owned = store_list_owned(test->store, &error);
    g_autoptr(GString) text = g_string_new(NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < owned->len; i++) {
        const struct store_owned *one = &g_array_index(owned, struct store_owned, i);
        g_autoptr(GBytes) key =
            store_read_owned_key(test->store, &one->secret, &one->guest, &error);
        g_autofree char *content = text_of(key);
        char secret[UUID_TEXT_SIZE];
        char guest[UUID_TEXT_SIZE];

        g_string_append_printf(text, "%.8s/%.8s=%s ", uuid_format(&one->secret, secret),
                               uuid_format(&one->guest, guest), content ? content : error->message);
        g_clear_error(&error);
    }
    g_assert_cmpstr(text->str, ==, expected);
}

/* The ids of the audit's lines, which have to be in an unbroken chain. */
static void
expect_audit(struct fixture *test, const char *const *ids)
{
    g_autoptr(GError) error = NULL;
    struct audit_line_chain chain;
    bool more = false;
    g_autoptr(GPtrArray) lines = store_read_audit(test->store, 0, 100, &more, &error);

    g_assert_no_error(error);
    audit_line_chain_init(&chain);
    for (guint i = 0; i < lines->len; i++) {
        const char *line = g_ptr_array_index(lines, i);

        g_assert_true(audit_line_verify(&chain, line, strlen(line), &error));
        g_assert_nonnull(ids[i]);
        g_assert_nonnull(strstr(line, ids[i]));
    }
    g_assert_null(ids[lines->len]);
}

static char *
guests_path(const struct fixture *test, const char *name)
{
    return g_build_filename(test->guests_dir, name, NULL);
}

static void
make_guests_dir(const struct fixture *test, const char *name)
{
    g_autofree char *path = guests_path(test, name);

    g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
}

static void
put_guests_file(const struct fixture *test, const char *name, const char *text)
{
    g_autofree char *path = guests_path(test, name);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static bool
is_there(const struct fixture *test, const char *name)
{
    g_autofree char *path = guests_path(test, name);

    return g_file_test(path, G_FILE_TEST_EXISTS) || g_file_test(path, G_FILE_TEST_IS_SYMLINK);
}

static void
expect_mode(const struct fixture *test, const char *name, mode_t mode)
{
    g_autofree char *path = guests_path(test, name);
    struct stat info;

    g_assert_cmpint(stat(path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, mode);
}

static void
test_a_first_copy_makes_private_folders(struct fixture *test, gconstpointer unused)
{
    expect_owned(test, "");
    g_assert_false(is_there(test, ""));
    commit_copy(test, A, G1, "copy");
    expect_mode(test, "..", 0700);
    expect_mode(test, "", 0700);
    expect_mode(test, G1, 0700);
    expect_mode(test, G1 "/" A ".key", 0600);
    expect_owned(test, "aaaaaaaa/11111111=copy ");
}

static void
test_copies_are_listed_by_secret_and_guest(struct fixture *test, gconstpointer unused)
{
    commit_copy(test, B, G1, "b1");
    commit_copy(test, A, G2, "a2");
    commit_copy(test, A, G1, "a1");
    expect_owned(test, "aaaaaaaa/11111111=a1 aaaaaaaa/22222222=a2 bbbbbbbb/11111111=b1 ");
    close_store(test);
    open_store(test);
    expect_owned(test, "aaaaaaaa/11111111=a1 aaaaaaaa/22222222=a2 bbbbbbbb/11111111=b1 ");
}

static void
test_a_secret_goes_to_guests_and_back_in_one_change(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, NULL, "");

    commit(test, A, "<a/>", "sealed");
    add_copy(&change, G1, "copy");
    add_copy(&change, G2, "another");
    commit_change(test, &change);
    expect_list(test, "aaaaaaaa:x-- ");
    expect_owned(test, "aaaaaaaa/11111111=copy aaaaaaaa/22222222=another ");
    change = change_of(A, NULL, "sealed");
    add_copy(&change, G1, "");
    add_copy(&change, G2, "");
    commit_change(test, &change);
    expect_list(test, "aaaaaaaa:xk- ");
    expect_owned(test, "");
    g_assert_false(is_there(test, G1));
    g_assert_false(is_there(test, G2));
    g_assert_true(is_there(test, ""));
}

static void
test_a_copy_of_the_same_size_is_written_over(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = guests_path(test, G1 "/" A ".key");
    struct stat before;
    struct stat after;

    commit_copy(test, A, G1, "copy");
    g_assert_cmpint(stat(path, &before), ==, 0);
    commit_copy(test, A, G1, "COPY");
    g_assert_cmpint(stat(path, &after), ==, 0);
    g_assert_cmpuint(before.st_ino, ==, after.st_ino);
    expect_owned(test, "aaaaaaaa/11111111=COPY ");
}

static void
test_a_removed_copy_is_overwritten(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = guests_path(test, G1 "/" A ".key");
    char bytes[4];
    int fd;

    commit_copy(test, A, G1, "copy");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    commit_copy(test, A, G1, "");
    g_assert_cmpint(pread(fd, bytes, 4, 0), ==, 4);
    g_assert_cmpmem(bytes, 4, "\0\0\0\0", 4);
    close(fd);
}

static void
test_removing_what_is_not_there_is_no_error(struct fixture *test, gconstpointer unused)
{
    commit_copy(test, A, G1, "");
    g_assert_false(is_there(test, ""));
    commit_copy(test, A, G1, "copy");
    commit_copy(test, A, G2, "");
    commit_copy(test, B, G1, "");
    expect_owned(test, "aaaaaaaa/11111111=copy ");
}

static void
test_a_guests_folder_stays_while_something_is_in_it(struct fixture *test, gconstpointer unused)
{
    commit_copy(test, A, G1, "copy");
    commit_copy(test, B, G1, "other");
    commit_copy(test, A, G1, "");
    expect_owned(test, "bbbbbbbb/11111111=other ");
    put_guests_file(test, G1 "/note", "of the administrator");
    commit_copy(test, B, G1, "");
    g_assert_true(is_there(test, G1 "/note"));
}

static void
test_foreign_names_are_left_alone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *link_path = guests_path(test, G2);

    close_store(test);
    make_guests_dir(test, G1 "/sub");
    make_guests_dir(test, "no-uuid");
    put_guests_file(test, C, "a file");
    put_guests_file(test, G1 "/" A ".key", "copy");
    put_guests_file(test, G1 "/" A ".xml", "no copy");
    put_guests_file(test, G1 "/README", "hello");
    g_assert_cmpint(symlink(test->folder.path, link_path), ==, 0);
    folder_put_text(&test->folder, B ".key", "elsewhere");
    open_store(test);
    expect_owned(test, "aaaaaaaa/11111111=copy ");
    g_assert_true(is_there(test, "no-uuid"));
    g_assert_true(is_there(test, C));
    g_assert_true(is_there(test, G1 "/" A ".xml"));
    g_assert_true(is_there(test, G1 "/README"));
    g_assert_true(is_there(test, G1 "/sub"));
    g_assert_true(is_there(test, G2));
}

static void
test_what_an_interrupted_change_left_is_removed_at_start(struct fixture *test, gconstpointer unused)
{
    commit_copy(test, A, G1, "copy");
    close_store(test);
    put_guests_file(test, G1 "/" A ".key.new", "half");
    make_guests_dir(test, G2);
    put_guests_file(test, G2 "/" A ".key.new", "half");
    make_guests_dir(test, C);
    open_store(test);
    g_assert_false(is_there(test, G1 "/" A ".key.new"));
    g_assert_false(is_there(test, G2));
    g_assert_false(is_there(test, C));
    expect_owned(test, "aaaaaaaa/11111111=copy ");
}

static void
test_links_are_refused_and_not_followed(struct fixture *test, gconstpointer unused)
{
    g_autofree char *guest = guests_path(test, G1);
    g_autofree char *key = guests_path(test, G2 "/" A ".key");
    struct store_change change = change_of(A, "<a/>", NULL);

    make_guests_dir(test, G2);
    g_assert_cmpint(symlink(test->folder.path, guest), ==, 0);
    g_assert_cmpint(symlink("/etc/passwd", key), ==, 0);
    add_copy(&change, G1, "copy");
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID,
                        G1 " is not a folder; move it away");
    change = change_of(A, "<a/>", NULL);
    add_copy(&change, G2, "copy");
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID,
                        G2 "/" A ".key is not a regular file; move it away");
    expect_list(test, "");
    g_assert_cmpuint(folder_count(&test->folder), ==, 0);
}

static void
test_a_link_in_place_of_the_folder_of_all_stops_the_start(struct fixture *test,
                                                          gconstpointer unused)
{
    const struct store_params params = params_of(test);
    g_autofree char *parent = g_path_get_dirname(test->guests_dir);
    g_autoptr(store_t) store = NULL;
    g_autoptr(GError) error = NULL;

    close_store(test);
    g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
    g_assert_cmpint(symlink(test->folder.path, test->guests_dir), ==, 0);
    store = store_open(&params, &error);
    g_assert_null(store);
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "/qemu/keys is not a folder; move it away");
}

static void
test_a_refused_change_leaves_no_folder(struct fixture *test, gconstpointer unused)
{
    g_autofree char *key = g_strnfill(STORE_KEY_MAX, 'k');
    struct store_change change = change_of(A, NULL, NULL);

    commit_copy(test, B, G1, "other");
    add_copy(&change, G1, "copy");
    add_copy(&change, G2, key);
    limit_file_size(20000);
    expect_commit_error(test, &change, ERROR_SYSTEM,
                        "cannot write the file " G2 "/" A ".key.new: ");
    limit_file_size(0);
    g_assert_false(is_there(test, G2));
    g_assert_false(is_there(test, G1 "/" A ".key.new"));
    expect_owned(test, "bbbbbbbb/11111111=other ");
}

static void
test_a_missing_copy_is_named(struct fixture *test, gconstpointer unused)
{
    struct uuid secret = uuid_of(A);
    struct uuid guest = uuid_of(G1);
    g_autoptr(GError) error = NULL;

    commit_copy(test, B, G1, "other");
    g_assert_null(store_read_owned_key(test->store, &secret, &guest, &error));
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
    g_assert_nonnull(strstr(error->message, G1));
    g_assert_nonnull(strstr(error->message, A));
}

static void
test_a_store_without_guests_refuses_copies(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, "<a/>", NULL);
    g_autoptr(GError) error = NULL;

    close_store(test);
    test->store = open_store_at(test->folder.path, test->journal_folder.path, NULL, &error);
    g_assert_no_error(error);
    add_copy(&change, G1, "copy");
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID, "has no folder for guests' copies");
    change = change_of(A, "<a/>", NULL);
    add_audit(&change, ID_1);
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID, "has no audit");
    expect_owned(test, "");
    commit(test, A, "<a/>", "sealed");
}

/* ---- recovery ---- */

static void
test_a_committed_change_of_all_files_is_finished_at_start(struct fixture *test,
                                                          gconstpointer unused)
{
    struct store_change change = change_of(A, "<new/>", "");

    commit(test, A, "<a/>", "sealed");
    commit_copy(test, A, G2, "old");
    close_store(test);
    add_copy(&change, G1, "copy");
    add_copy(&change, G2, "");
    add_audit(&change, ID_1);
    put_record(test, change);
    open_store(test);
    expect_files(test, A, "<new/>", NULL);
    expect_owned(test, "aaaaaaaa/11111111=copy ");
    g_assert_false(is_there(test, G2));
    expect_audit(test, (const char *const[]){ID_1, NULL});
    g_assert_cmpuint(count_journal_bytes(test), ==, 0);
}

static void
put_copy_record(struct fixture *test, const char *secret, const char *guest, const char *key,
                const char *id)
{
    struct store_change change = change_of(secret, NULL, NULL);

    add_copy(&change, guest, key);
    add_audit(&change, id);
    put_record(test, change);
}

static void
test_of_several_records_each_copy_has_its_last_one(struct fixture *test, gconstpointer unused)
{
    close_store(test);
    put_copy_record(test, A, G1, "first", ID_1);
    put_copy_record(test, A, G2, "second", ID_2);
    put_copy_record(test, A, G1, "third", A);
    put_copy_record(test, A, G2, "", B);
    open_store(test);
    expect_owned(test, "aaaaaaaa/11111111=third ");
    expect_audit(test, (const char *const[]){ID_1, ID_2, A, B, NULL});
}

static void
test_what_is_in_the_way_of_a_committed_copy_is_put_aside(struct fixture *test, gconstpointer unused)
{
    g_autofree char *link_path = guests_path(test, G2);

    close_store(test);
    make_guests_dir(test, G1 "/" A ".key");
    g_assert_cmpint(symlink(test->folder.path, link_path), ==, 0);
    put_copy_record(test, A, G1, "copy", ID_1);
    put_copy_record(test, A, G2, "copy", ID_2);
    open_store(test);
    expect_owned(test, "aaaaaaaa/11111111=copy aaaaaaaa/22222222=copy ");
    g_assert_true(is_there(test, G1 "/" A ".key.foreign.1"));
    g_assert_true(is_there(test, G2 ".foreign.1"));
    g_assert_cmpuint(folder_count(&test->folder), ==, 0);
}

static void
test_copies_that_can_not_be_written_are_served_from_memory(struct fixture *test,
                                                           gconstpointer unused)
{
    g_autofree char *key = g_strnfill(3000, 'k');
    g_autofree char *expected = g_strdup_printf("aaaaaaaa/11111111=%s ", key);
    struct store_change change = change_of(B, NULL, "other");

    commit_copy(test, A, G2, "old");
    close_store(test);
    put_copy_record(test, A, G1, key, ID_1);
    put_copy_record(test, A, G2, "", ID_2);
    limit_file_size(1000);
    open_store(test);
    expect_owned(test, expected);
    expect_commit_error(test, &change, ERROR_SYSTEM, "nothing was changed");
    limit_file_size(0);
    commit(test, B, NULL, "other");
    expect_owned(test, expected);
    expect_audit(test, (const char *const[]){ID_1, ID_2, NULL});
}

/* ---- the audit ---- */

static void
test_a_change_has_its_line_when_it_is_done(struct fixture *test, gconstpointer unused)
{
    struct store_change change = change_of(A, "<a/>", "sealed");

    expect_audit(test, (const char *const[]){NULL});
    add_audit(&change, ID_1);
    commit_change(test, &change);
    expect_audit(test, (const char *const[]){ID_1, NULL});
    close_store(test);
    open_store(test);
    change = change_of(A, "", "");
    add_audit(&change, ID_2);
    commit_change(test, &change);
    expect_audit(test, (const char *const[]){ID_1, ID_2, NULL});
}

static void
test_a_foreign_audit_refuses_what_needs_a_line_and_nothing_else(struct fixture *test,
                                                                gconstpointer unused)
{
    struct store_change change = change_of(A, "", "");
    g_autofree char *dir = g_path_get_dirname(test->audit);

    commit(test, A, "<a/>", "sealed");
    close_store(test);
    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    g_assert_cmpint(symlink("/dev/null", test->audit), ==, 0);
    open_store(test);
    add_audit(&change, ID_1);
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID,
                        "/lib/audit.log is not a regular file of root's; move it away");
    expect_files(test, A, "<a/>", "sealed");
    commit(test, A, NULL, "SEALED");
    g_assert_cmpint(g_remove(test->audit), ==, 0);
    change = change_of(A, "", "");
    add_audit(&change, ID_1);
    commit_change(test, &change);
    expect_list(test, "");
    expect_audit(test, (const char *const[]){ID_1, NULL});
}

/* ---- how much ---- */

static void
test_all_owners_a_secret_can_have_are_changed_at_once(struct fixture *test, gconstpointer unused)
{
    struct rlimit limit;
    struct store_change write = change_of(A, "<a/>", "");
    struct store_change remove = change_of(A, "", "");
    g_autoptr(GBytes) key = g_bytes_new_static("copy", 4);
    g_autoptr(GArray) owned = NULL;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    limit.rlim_cur = MIN(limit.rlim_max, 3072);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    for (unsigned int i = 0; i < STORE_OWNERS_MAX; i++) {
        struct uuid guest = {{(uint8_t)(i >> 8), (uint8_t)i}};

        store_change_add_owner(&write, &guest, STORE_WRITE, key);
        store_change_add_owner(&remove, &guest, STORE_REMOVE, NULL);
    }
    commit_change(test, &write);
    owned = store_list_owned(test->store, NULL);
    g_assert_cmpuint(owned->len, ==, STORE_OWNERS_MAX);
    commit_change(test, &remove);
    expect_owned(test, "");
}

static void
test_what_does_not_fit_into_the_journal_names_secret_and_owners(struct fixture *test,
                                                                gconstpointer unused)
{
    struct store_change change = change_of(A, "<a/>", NULL);
    g_autofree char *text = g_strnfill(STORE_KEY_MAX, 'k');
    g_autoptr(GBytes) key = g_bytes_new_static(text, STORE_KEY_MAX);

    for (uint8_t i = 0; i < 40; i++) {
        struct uuid guest = {{i}};

        store_change_add_owner(&change, &guest, STORE_WRITE, key);
    }
    expect_commit_error(test, &change, ERROR_OPERATION_INVALID,
                        "a change of secret " A " with the copies of 40 guests has ");
    g_assert_false(is_there(test, ""));
    commit(test, A, "<a/>", "sealed");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/store_owned/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_first_copy_makes_private_folders);
    ADD(copies_are_listed_by_secret_and_guest);
    ADD(a_secret_goes_to_guests_and_back_in_one_change);
    ADD(a_copy_of_the_same_size_is_written_over);
    ADD(a_removed_copy_is_overwritten);
    ADD(removing_what_is_not_there_is_no_error);
    ADD(a_guests_folder_stays_while_something_is_in_it);
    ADD(foreign_names_are_left_alone);
    ADD(what_an_interrupted_change_left_is_removed_at_start);
    ADD(links_are_refused_and_not_followed);
    ADD(a_link_in_place_of_the_folder_of_all_stops_the_start);
    ADD(a_refused_change_leaves_no_folder);
    ADD(a_missing_copy_is_named);
    ADD(a_store_without_guests_refuses_copies);
    ADD(a_committed_change_of_all_files_is_finished_at_start);
    ADD(of_several_records_each_copy_has_its_last_one);
    ADD(what_is_in_the_way_of_a_committed_copy_is_put_aside);
    ADD(copies_that_can_not_be_written_are_served_from_memory);
    ADD(a_change_has_its_line_when_it_is_done);
    ADD(a_foreign_audit_refuses_what_needs_a_line_and_nothing_else);
    ADD(all_owners_a_secret_can_have_are_changed_at_once);
    ADD(what_does_not_fit_into_the_journal_names_secret_and_owners);
    return g_test_run();
}
