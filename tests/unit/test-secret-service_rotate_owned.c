/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Rotation of the key-encryption generation with guests' copies: all of them are moved, one that
 * was taken away does not open again, and one that can't be read holds the end up. And files that
 * were kept.
 */
#include "rotation.h"

/* These two files in the folder of secrets are sealed under the same key. */
static void
expect_same_key(struct custodian *test, const char *one, const char *other)
{
    g_autoptr(GBytes) left = back_up(test, one);
    g_autoptr(GBytes) right = back_up(test, other);

    g_assert_cmpmem(sealed_master_key_id(g_bytes_get_data(left, NULL), g_bytes_get_size(left)),
                    MASTER_KEY_ID_SIZE,
                    sealed_master_key_id(g_bytes_get_data(right, NULL), g_bytes_get_size(right)),
                    MASTER_KEY_ID_SIZE);
}

/* The first secret belongs to two guests, the second one to none. */
static void
prepare_owned(struct custodian *test)
{
    prepare_two(test);
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
}

static void
test_every_copy_is_moved(struct custodian *test, gconstpointer unused)
{
    prepare_owned(test);
    undefine(test, UUID_2);
    await_generation(test, 2);
    expect_value(test, UUID_1, "first");
    expect_bindings(test, "11111111 a1111111\n11111111 a2222222\n");
    expect_owned_alone(test, UUID_1, GUEST_1, "first");
    expect_owned_alone(test, UUID_1, GUEST_2, "first");
}

/* Each was bound by a change of its own; all of them are more than one change can hold. */
static void
test_copies_that_no_change_holds_together_are_moved(struct custodian *test, gconstpointer unused)
{
    g_autofree char *value = g_strnfill(60000, 'x');

    prepare_two(test);
    set_value(test, UUID_1, value);
    for (unsigned int i = 0; i < 40; i++) {
        g_autofree char *guest = g_strdup_printf("a1111111-1111-4111-8111-1111111111%02u", i);

        bind_to(test, UUID_1, guest);
    }
    undefine(test, UUID_2);
    await(test, has_ended, 2, NULL);
    expect_value(test, UUID_1, value);
    custodian_reopen(test);
    expect_value(test, UUID_1, value);
    expect_not_logged(test, "was sealed under a key that is not here");
}

static void
test_a_copy_that_was_unbound_does_not_open_again(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) copy = NULL;

    prepare_owned(test);
    copy = get_copy(test, GUEST_1, UUID_1);
    unbind_from(test, UUID_1, GUEST_1);
    await_generation(test, 2);
    custodian_close(test);
    put_copy(test, GUEST_1, UUID_1, copy);
    custodian_open(test);
    expect_logged(test, GUEST_1 "/" UUID_1 ".key: the sealed value of secret " UUID_1
                                " was sealed under a key that is not here");
    expect_value(test, UUID_1, "first");
}

static void
test_what_was_erased_does_not_open_again(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) copy = NULL;
    g_autoptr(GBytes) xml = NULL;
    g_autoptr(GError) error = NULL;

    prepare_owned(test);
    copy = get_copy(test, GUEST_2, UUID_1);
    xml = back_up(test, UUID_1 ".xml");
    error = try_erase(test, UUID_1, GUEST_1, "guest 'x' was undefined");
    g_assert_no_error(error);
    await_generation(test, 2);
    custodian_close(test);
    put_back(test, UUID_1 ".xml", xml);
    put_copy(test, GUEST_2, UUID_1, copy);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed under a key that is not here");
    expect_value(test, UUID_2, "second");
}

static void
test_a_copy_without_a_definition_is_moved(struct custodian *test, gconstpointer unused)
{
    prepare_owned(test);
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    custodian_open(test);
    undefine(test, UUID_2);
    await_generation(test, 2);
    custodian_reopen(test);
    define(test, UUID_1 " volume /a private");
    expect_value(test, UUID_1, "first");
    expect_bindings(test, "11111111 a1111111\n11111111 a2222222\n");
}

/* Put back by hand, and not known to the daemon. */
static void
test_a_copy_that_the_daemon_does_not_know_is_moved(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) copy = NULL;

    test->rotation_delay = 86400;
    prepare_owned(test);
    copy = get_copy(test, GUEST_1, UUID_1);
    unbind_from(test, UUID_1, GUEST_1);
    test->rotation_delay = 0;
    custodian_close(test);
    custodian_open(test);
    put_copy(test, GUEST_1, UUID_1, copy);
    await_generation(test, 2);
    custodian_reopen(test);
    expect_bindings(test, "11111111 a1111111\n11111111 a2222222\n");
    expect_not_logged(test, "was sealed under a key that is not here");
}

static void
test_a_copy_that_cannot_be_parsed_holds_the_end_up(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) bad = g_bytes_new_static("whatever", 8);

    prepare_owned(test);
    put_copy(test, GUEST_3, UUID_1, bad);
    undefine(test, UUID_2);
    await(test, has_problem, 0, NULL);
    g_assert_true(g_str_has_prefix(status_of(test).problem,
                                   GUEST_3 "/" UUID_1
                                           ".key is no sealed value that this program can read"));
    expect_value(test, UUID_1, "first");
}

static void
test_a_guests_folder_that_cannot_be_listed_holds_the_end_up(struct custodian *test,
                                                            gconstpointer unused)
{
    g_autofree char *folder = g_build_filename(test->guests_dir, GUEST_3, NULL);

    if (geteuid() != 0) {
        g_test_skip("only root can give a folder away");
        return;
    }
    prepare_owned(test);
    g_assert_cmpint(mkdir(folder, 0700), ==, 0);
    g_assert_cmpint(chown(folder, 12345, 12345), ==, 0);
    undefine(test, UUID_2);
    await(test, has_problem, 0, NULL);
    g_assert_nonnull(strstr(status_of(test).problem, "belongs to user 12345"));
    g_assert_true(status_of(test).is_rotating);
    expect_value(test, UUID_1, "first");
}

/* What is behind it may come back, and would be lost. */
static void
test_a_link_in_place_of_a_guests_folder_holds_the_end_up(struct custodian *test,
                                                         gconstpointer unused)
{
    g_autofree char *folder = g_build_filename(test->guests_dir, GUEST_1, NULL);
    g_autofree char *away = folder_path(&test->folder, "away");

    prepare_two(test);
    bind_to(test, UUID_1, GUEST_1);
    custodian_close(test);
    g_assert_cmpint(g_rename(folder, away), ==, 0);
    g_assert_cmpint(symlink(away, folder), ==, 0);
    custodian_open(test);
    expect_logged(test, GUEST_1 " is not a folder");
    set_value(test, UUID_2, "third");
    await(test, has_problem, 0, NULL);
    g_assert_nonnull(strstr(status_of(test).problem, GUEST_1 " is not a folder"));
    custodian_close(test);
    g_assert_cmpint(g_unlink(folder), ==, 0);
    g_assert_cmpint(g_rename(away, folder), ==, 0);
    custodian_open(test);
    expect_value(test, UUID_1, "first");
}

/* Where a copy without a definition and a key with one have nothing but the uuid in common. */
static void
test_key_and_copies_of_one_secret_are_moved(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = NULL;
    g_autoptr(GBytes) copy = NULL;

    test->rotation_delay = 86400;
    prepare_two(test);
    key = back_up(test, UUID_1 ".key");
    bind_to(test, UUID_1, GUEST_1);
    copy = get_copy(test, GUEST_1, UUID_1);
    undefine(test, UUID_1);
    custodian_close(test);
    put_back(test, UUID_1 ".key", key);
    put_copy(test, GUEST_1, UUID_1, copy);
    put_copy(test, GUEST_2, UUID_1, copy);
    test->rotation_delay = 0;
    custodian_open(test);
    await_generation(test, 2);
    expect_same_key(test, UUID_1 ".key", UUID_2 ".key");
    g_clear_pointer(&copy, g_bytes_unref);
    copy = get_copy(test, GUEST_2, UUID_1);
    put_back(test, "copy", copy);
    expect_same_key(test, "copy", UUID_2 ".key");
    g_clear_pointer(&copy, g_bytes_unref);
    copy = get_copy(test, GUEST_1, UUID_1);
    put_back(test, "copy", copy);
    expect_same_key(test, "copy", UUID_2 ".key");
}

/* ---- kept files ---- */

static void
test_kept_files_are_moved(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = NULL;
    g_autoptr(GBytes) copy = NULL;
    g_autofree char *path =
        g_strconcat(test->guests_dir, "/" GUEST_1 "/" UUID_1 ".key.foreign.1", NULL);
    g_autofree char *content = NULL;
    gsize len = 0;

    prepare_two(test);
    key = back_up(test, UUID_1 ".key");
    for (unsigned int i = 1; i <= 20; i++) {
        g_autofree char *name = g_strdup_printf(UUID_1 ".key.replaced-%u", i);

        put_back(test, name, key);
    }
    put_back(test, UUID_3 ".key.foreign.1", key);
    /* Left by a crash while one was replaced. */
    put_back(test, UUID_1 ".key.replaced-1.new", key);
    bind_to(test, UUID_1, GUEST_1);
    copy = get_copy(test, GUEST_1, UUID_1);
    g_assert_true(g_file_set_contents(path, g_bytes_get_data(copy, NULL),
                                      (gssize)g_bytes_get_size(copy), NULL));
    set_value(test, UUID_2, "third");
    await_generation(test, 2);
    expect_same_key(test, UUID_1 ".key.replaced-1", UUID_2 ".key");
    expect_same_key(test, UUID_1 ".key.replaced-20", UUID_2 ".key");
    expect_same_key(test, UUID_3 ".key.foreign.1", UUID_2 ".key");
    folder_expect_none(&test->secrets, UUID_1 ".key.replaced-1.new");
    g_assert_true(g_file_get_contents(path, &content, &len, NULL));
    folder_put(&test->secrets, "copy", content, len);
    expect_same_key(test, "copy", UUID_2 ".key");
}

static void
test_kept_files_that_are_no_values_stay(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) text = g_bytes_new_static("whatever", 8);
    g_autoptr(GBytes) damaged = NULL;
    g_autofree uint8_t *bytes = NULL;
    g_autofree char *folder = folder_path(&test->secrets, UUID_1 ".key.foreign.2");
    gsize len = 0;

    prepare_two(test);
    damaged = back_up(test, UUID_1 ".key");
    bytes = g_bytes_unref_to_data(g_steal_pointer(&damaged), &len);
    bytes[100] ^= 1;
    damaged = g_bytes_new(bytes, len);
    put_back(test, UUID_1 ".key.replaced-1", damaged);
    put_back(test, UUID_1 ".key.foreign.1", text);
    g_assert_cmpint(mkdir(folder, 0700), ==, 0);
    undefine(test, UUID_2);
    await_generation(test, 2);
    folder_expect(&test->secrets, UUID_1 ".key.replaced-1", damaged);
    folder_expect(&test->secrets, UUID_1 ".key.foreign.1", text);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_rotate_owned/" #name, struct custodian, NULL, set_up, test_##name, \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(every_copy_is_moved);
    ADD(copies_that_no_change_holds_together_are_moved);
    ADD(a_copy_that_was_unbound_does_not_open_again);
    ADD(what_was_erased_does_not_open_again);
    ADD(a_copy_without_a_definition_is_moved);
    ADD(a_copy_that_the_daemon_does_not_know_is_moved);
    ADD(a_copy_that_cannot_be_parsed_holds_the_end_up);
    ADD(a_guests_folder_that_cannot_be_listed_holds_the_end_up);
    ADD(a_link_in_place_of_a_guests_folder_holds_the_end_up);
    ADD(key_and_copies_of_one_secret_are_moved);
    ADD(kept_files_are_moved);
    ADD(kept_files_that_are_no_values_stay);
    return g_test_run();
}
