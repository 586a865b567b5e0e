/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A backup takes the place of a store whole or not at all, what was there is kept, and the restored
 * store opens by the recovery passphrase alone.
 */
#include <sys/stat.h>

#include "backup_fixture.h"
#include "recover/offline_store.h"
#include "recover/restore.h"
#include "secret/store.h"

#define CONFIG SYSCONFDIR "/libvirt"

static char *
path_of(const struct backup_fixture *test, const char *name)
{
    return g_build_filename(test->root.path, name, NULL);
}

static bool
exists(const struct backup_fixture *test, const char *name)
{
    g_autofree char *path = path_of(test, name);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void
put(const struct backup_fixture *test, const char *name, const char *text)
{
    g_autofree char *path = path_of(test, name);
    g_autofree char *folder = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static bool
restore(const struct backup_fixture *test, bool replace, struct restore_report *ret_report,
        GError **error)
{
    g_autoptr(GByteArray) file = backup_fixture_make(test);
    g_autoptr(backup_reader_t) reader = backup_fixture_open(test, file->data, file->len, error);
    g_autoptr(offline_paths_t) paths = offline_paths_new(test->root.path, false, error);
    const struct restore_params params = {
        .paths = paths,
        .reader = reader,
        .master = test->master,
        .replace = replace,
    };

    g_assert_nonnull(reader);
    g_assert_nonnull(paths);
    return restore_run(&params, ret_report, error);
}

/* The restored store, opened by the recovery passphrase. */
static struct offline_store *
open_restored(const struct backup_fixture *test)
{
    g_autoptr(GError) error = NULL;
    const struct offline_params params = {.root = test->root.path};
    const struct offline_key key = {.secret = test->recovery};
    struct offline_store *store = offline_store_open(&params, &error);

    g_assert_no_error(error);
    offline_store_unlock(store, &backup_fixture_context, &key, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(offline_store_problems(store)->len, ==, 0);
    return store;
}

static void
expect_value(const struct offline_store *store, const char *name, const char *value)
{
    g_autoptr(GError) error = NULL;
    const struct offline_secret *secret = offline_store_find(store, name, &error);
    g_autoptr(secret_buf_t) opened = NULL;

    g_assert_no_error(error);
    opened = offline_store_open_value(store, secret, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(secret_buf_bytes(opened), secret_buf_len(opened), value, strlen(value));
    g_assert_cmpuint(secret->reading.problems->len, ==, 0);
}

static void
add_three(struct backup_fixture *test)
{
    const struct uuid guests[] = {backup_fixture_uuid(GUEST_1), backup_fixture_uuid(GUEST_2)};

    backup_fixture_add(test, SECRET_A, "value of a", NULL, 0);
    backup_fixture_add(test, SECRET_B, "value of b", guests, G_N_ELEMENTS(guests));
    backup_fixture_add(test, SECRET_C, NULL, NULL, 0);
}

static void
test_values_and_guests_copies_are_restored(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(restore_report_t) report = {0};
    g_autoptr(offline_store_t) store = NULL;

    add_three(test);
    backup_fixture_lose(test, "something");
    restore(test, false, &report, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(report.content.secrets, ==, 3);
    g_assert_cmpuint(report.content.values, ==, 2);
    g_assert_cmpuint(report.content.copies, ==, 2);
    g_assert_cmpuint(report.content.lost->len, ==, 1);
    g_assert_null(report.aside);
    g_assert_true(exists(test, CONFIG "/qemu/keys/" GUEST_1 "/" SECRET_B ".key"));
    g_assert_true(exists(test, CONFIG "/qemu/keys/" GUEST_2 "/" SECRET_B ".key"));
    g_assert_false(exists(test, CONFIG "/secrets/" SECRET_B ".key"));
    g_assert_false(exists(test, CONFIG "/virtcrypt/master.slots.restoring"));
    store = open_restored(test);
    g_assert_cmpuint(offline_store_count(store), ==, 3);
    expect_value(store, SECRET_A, "value of a");
    expect_value(store, "/srv/" SECRET_B, "value of b");
    g_assert_null(offline_store_find_loss(offline_store_find(store, SECRET_C, NULL)));
}

static void
test_the_restored_slots_expect_no_index(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(restore_report_t) report = {0};
    g_autoptr(slots_t) slots = NULL;
    g_autofree char *path = path_of(test, CONFIG "/virtcrypt/master.slots");

    restore(test, false, &report, &error);
    g_assert_no_error(error);
    slots = slots_read(path, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(slots->flags & SLOTS_HAS_INDEX, ==, 0);
    g_assert_cmpuint(slots->sequence, >, test->slots->sequence);
}

static void
test_all_files_are_for_their_owner_alone(struct backup_fixture *test, gconstpointer unused)
{
    static const char *const files[] = {
        CONFIG "/virtcrypt/master.slots",
        CONFIG "/virtcrypt/generations",
        CONFIG "/secrets/" SECRET_A ".xml",
        CONFIG "/secrets/" SECRET_A ".key",
        CONFIG "/qemu/keys/" GUEST_1 "/" SECRET_B ".key",
    };
    g_auto(restore_report_t) report = {0};

    add_three(test);
    g_assert_true(restore(test, false, &report, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = path_of(test, files[i]);
        struct stat info;

        g_assert_cmpint(stat(path, &info), ==, 0);
        g_assert_cmpuint(info.st_mode & 07777, ==, 0600);
    }
}

static void
test_secrets_that_are_there_are_not_touched(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(restore_report_t) report = {0};

    add_three(test);
    put(test, CONFIG "/secrets/" SECRET_C ".xml", "of before");
    g_assert_false(restore(test, false, &report, &error));
    g_assert_true(error_is(error, ERROR_OPERATION_INVALID));
    g_assert_nonnull(strstr(error->message, "--replace"));
    g_assert_false(exists(test, CONFIG "/virtcrypt/master.slots.restoring"));
    g_assert_false(exists(test, CONFIG "/secrets/" SECRET_A ".xml"));
}

/* Its lock below /run may be another than that of who restores: in a session, or a container. */
static void
test_a_store_that_a_daemon_works_on_is_not_replaced(struct backup_fixture *test,
                                                    gconstpointer unused)
{
    g_autofree char *dir = path_of(test, CONFIG "/secrets");
    g_autofree char *journal = path_of(test, CONFIG "/virtcrypt/journal");
    const struct store_params params = {.dir = dir, .journal_dir = journal};
    g_autoptr(store_t) store = NULL;
    g_auto(restore_report_t) report = {0};
    g_autoptr(GError) error = NULL;

    put(test, CONFIG "/secrets/" SECRET_A ".xml", "mine");
    store = store_open(&params, &error);
    g_assert_no_error(error);
    g_assert_false(restore(test, true, &report, &error));
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_SECRET, "in use by another process");
    g_assert_true(exists(test, CONFIG "/secrets/" SECRET_A ".xml"));
    g_assert_false(exists(test, CONFIG "/virtcrypt/replaced-1"));
    g_assert_false(exists(test, CONFIG "/virtcrypt/master.slots.restoring"));
}

static void
test_a_store_that_is_replaced_is_kept(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(restore_report_t) report = {0};
    g_autoptr(offline_store_t) store = NULL;
    g_autofree char *aside = path_of(test, CONFIG "/virtcrypt/replaced-1");

    add_three(test);
    put(test, CONFIG "/secrets/" SECRET_C ".xml", "of before");
    put(test, CONFIG "/virtcrypt/master.slots", "of before");
    put(test, CONFIG "/virtcrypt/index", "of before");
    put(test, CONFIG "/qemu/keys/" GUEST_1 "/" SECRET_A ".key", "of before");
    restore(test, true, &report, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(report.aside, ==, aside);
    g_assert_true(exists(test, CONFIG "/virtcrypt/replaced-1/secrets/" SECRET_C ".xml"));
    g_assert_true(exists(test, CONFIG "/virtcrypt/replaced-1/master.slots"));
    g_assert_true(exists(test, CONFIG "/virtcrypt/replaced-1/index"));
    g_assert_true(exists(test, CONFIG "/virtcrypt/replaced-1/keys/" GUEST_1 "/" SECRET_A ".key"));
    g_assert_false(exists(test, CONFIG "/virtcrypt/index"));
    store = open_restored(test);
    expect_value(store, SECRET_A, "value of a");
}

static void
test_a_restore_that_was_killed_is_begun_anew(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(restore_report_t) report = {0};
    g_autoptr(offline_store_t) store = NULL;

    add_three(test);
    put(test, CONFIG "/virtcrypt/master.slots.restoring", "of the one that was killed");
    put(test, CONFIG "/secrets/" SECRET_C ".xml", "of the one that was killed");
    restore(test, false, &report, &error);
    g_assert_no_error(error);
    g_assert_true(exists(test, CONFIG "/virtcrypt/replaced-1/secrets/" SECRET_C ".xml"));
    store = open_restored(test);
    expect_value(store, SECRET_A, "value of a");
}

static void
test_a_second_store_goes_to_a_folder_of_its_own(struct backup_fixture *test, gconstpointer unused)
{
    g_auto(restore_report_t) first = {0};
    g_auto(restore_report_t) second = {0};
    g_auto(restore_report_t) third = {0};

    add_three(test);
    g_assert_true(restore(test, false, &first, NULL));
    g_assert_true(restore(test, true, &second, NULL));
    g_assert_true(restore(test, true, &third, NULL));
    g_assert_true(g_str_has_suffix(second.aside, "replaced-1"));
    g_assert_true(g_str_has_suffix(third.aside, "replaced-2"));
}

static void
test_a_damaged_backup_changes_nothing(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GByteArray) file = NULL;
    g_autoptr(backup_reader_t) reader = NULL;
    g_autoptr(offline_paths_t) paths = NULL;
    g_auto(restore_report_t) report = {0};
    struct restore_params params;

    add_three(test);
    put(test, CONFIG "/secrets/" SECRET_C ".xml", "of before");
    put(test, CONFIG "/virtcrypt/master.slots", "of before");
    file = backup_fixture_make(test);
    file->data[file->len - 1] ^= 1;
    reader = backup_fixture_open(test, file->data, file->len, NULL);
    paths = offline_paths_new(test->root.path, false, NULL);
    params = (struct restore_params){
        .paths = paths, .reader = reader, .master = test->master, .replace = true};
    g_assert_false(restore_run(&params, &report, NULL));
    g_assert_true(exists(test, CONFIG "/virtcrypt/master.slots"));
    g_assert_false(exists(test, CONFIG "/virtcrypt/master.slots.restoring"));
    g_assert_false(exists(test, CONFIG "/virtcrypt/replaced-1"));
}

static void
test_a_value_that_does_not_open_changes_nothing(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(restore_report_t) report = {0};
    G_GNUC_UNUSED g_autoptr(generations_t) right = test->generations;
    g_autofree char *path = path_of(test, "others");

    test->generations = generations_make(path, test->master, false, &error);
    g_assert_no_error(error);
    add_three(test);
    g_assert_false(restore(test, false, &report, &error));
    g_assert_true(error_is(error, ERROR_INVALID_SECRET));
    g_assert_nonnull(strstr(error->message, SECRET_A));
    g_assert_false(exists(test, CONFIG "/virtcrypt/generations"));
}

static void
test_a_symbolic_link_in_the_way_is_refused(struct backup_fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *link_path = path_of(test, CONFIG "/secrets");
    g_autofree char *folder = path_of(test, CONFIG);
    g_autofree char *elsewhere = path_of(test, "elsewhere");

    g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(elsewhere, 0700), ==, 0);
    g_assert_cmpint(symlink(elsewhere, link_path), ==, 0);
    g_assert_null(offline_paths_new(test->root.path, false, &error));
    g_assert_true(error_is(error, ERROR_OPERATION_INVALID));
    g_assert_nonnull(strstr(error->message, "symbolic link"));
}

static void
test_the_audit_tells_of_it(struct backup_fixture *test, gconstpointer unused)
{
    g_auto(restore_report_t) report = {0};
    g_autofree char *path = path_of(test, LOCALSTATEDIR "/lib/libvirt/virtcrypt/audit.log");
    g_autofree char *text = NULL;

    add_three(test);
    g_assert_true(restore(test, false, &report, NULL));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, "\"event\":\"restore\""));
}

#define ADD(name)                                                                                  \
    g_test_add("/restore/" #name, struct backup_fixture, NULL, backup_fixture_set_up, test_##name, \
               backup_fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(values_and_guests_copies_are_restored);
    ADD(the_restored_slots_expect_no_index);
    ADD(all_files_are_for_their_owner_alone);
    ADD(secrets_that_are_there_are_not_touched);
    ADD(a_store_that_a_daemon_works_on_is_not_replaced);
    ADD(a_store_that_is_replaced_is_kept);
    ADD(a_restore_that_was_killed_is_begun_anew);
    ADD(a_second_store_goes_to_a_folder_of_its_own);
    ADD(a_damaged_backup_changes_nothing);
    ADD(a_value_that_does_not_open_changes_nothing);
    ADD(a_symbolic_link_in_the_way_is_refused);
    ADD(the_audit_tells_of_it);
    return g_test_run();
}
