/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the secret service makes of guests' copies that do not agree, at start and on a reload: the
 * newest one that opens counts, older ones are written anew, damaged ones are kept.
 */
#include "custodian_slots.h"
#include "owned.h"
#include "secret/generations.h"

/* A private secret that two guests own. */
static void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    custodian_open(test);
    define(test, UUID_1 " volume /a private");
    set_value(test, UUID_1, "old");
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
}

static void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

#define BOTH "11111111 a1111111\n11111111 a2222222\n"

/* Of before a new value was set, which is "new" then. */
static GBytes *
take_old_copy(struct custodian *test, const char *guest)
{
    GBytes *copy = get_copy(test, guest, UUID_1);

    set_value(test, UUID_1, "new");
    return copy;
}

static void
test_an_older_copy_is_written_anew(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) old = take_old_copy(test, GUEST_1);

    put_copy(test, GUEST_1, UUID_1, old);
    custodian_reopen(test);
    expect_value(test, UUID_1, "new");
    expect_bindings(test, BOTH);
    expect_logged(test, "the files with the value of secret " UUID_1
                        " differ: the newest, of generation 2, counts");
    expect_owned_alone(test, UUID_1, GUEST_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_2, "new");
}

static void
test_a_damaged_copy_is_kept_and_named(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) damaged = NULL;
    g_autoptr(GBytes) after = NULL;

    damage_copy(test, GUEST_1, UUID_1);
    damaged = get_copy(test, GUEST_1, UUID_1);
    custodian_reopen(test);
    expect_value(test, UUID_1, "old");
    expect_bindings(test, BOTH);
    expect_logged(test, GUEST_1 "/" UUID_1 ".key: ");
    expect_logged(test, "the file is kept, and the value comes from another one");
    after = get_copy(test, GUEST_1, UUID_1);
    g_assert_true(g_bytes_equal(damaged, after));
    set_value(test, UUID_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_1, "new");
}

static void
test_without_a_good_copy_the_value_is_unavailable(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    damage_copy(test, GUEST_1, UUID_1);
    damage_copy(test, GUEST_2, UUID_1);
    custodian_reopen(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "");
    g_assert_cmpuint(secret_service_count_unavailable(test->service), ==, 1);
    expect_logged(test, UUID_1 ".key of 2 guests: ");
    error = try_unbind(test, UUID_1, GUEST_1);
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                      "the copy of guest " GUEST_1 " is not taken away while");
    g_assert_true(has_copy(test, GUEST_1, UUID_1));
    set_value(test, UUID_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_2, "new");
}

static void
test_a_copy_of_another_guest_is_refused(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) copy = get_copy(test, GUEST_1, UUID_1);

    custodian_close(test);
    folder_remove_tree(test->guests_dir);
    put_copy(test, GUEST_3, UUID_1, copy);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed for another");
}

static void
test_an_unowned_key_under_a_guest_is_refused(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = NULL;

    unbind_from(test, UUID_1, GUEST_1);
    unbind_from(test, UUID_1, GUEST_2);
    key = folder_get(&test->secrets, UUID_1 ".key");
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".key", 0), ==, 0);
    put_copy(test, GUEST_1, UUID_1, key);
    put_copy(test, "00000000-0000-0000-0000-000000000000", UUID_1, key);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed for another");
    expect_bindings(test, "11111111 a1111111\n");
}

/* ---- UUID.key beside copies ---- */

static GBytes *
take_unowned_key(struct custodian *test)
{
    GBytes *key;

    unbind_from(test, UUID_1, GUEST_1);
    unbind_from(test, UUID_1, GUEST_2);
    key = folder_get(&test->secrets, UUID_1 ".key");
    g_assert_nonnull(key);
    bind_to(test, UUID_1, GUEST_1);
    bind_to(test, UUID_1, GUEST_2);
    return key;
}

static void
put_key(const struct custodian *test, GBytes *key)
{
    folder_put(&test->secrets, UUID_1 ".key", g_bytes_get_data(key, NULL), g_bytes_get_size(key));
}

static void
test_a_key_beside_copies_that_agree_goes(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = take_unowned_key(test);

    custodian_close(test);
    put_key(test, key);
    custodian_open(test);
    expect_value(test, UUID_1, "old");
    expect_bindings(test, BOTH);
    expect_owned_alone(test, UUID_1, GUEST_1, "old");
}

static void
test_an_older_key_beside_copies_goes(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = take_unowned_key(test);

    set_value(test, UUID_1, "new");
    custodian_close(test);
    put_key(test, key);
    custodian_open(test);
    expect_value(test, UUID_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_2, "new");
}

static void
test_a_newer_key_beside_copies_counts(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) one = get_copy(test, GUEST_1, UUID_1);
    g_autoptr(GBytes) two = get_copy(test, GUEST_2, UUID_1);
    g_autoptr(GBytes) key = NULL;

    set_value(test, UUID_1, "new");
    key = take_unowned_key(test);
    custodian_close(test);
    put_copy(test, GUEST_1, UUID_1, one);
    put_copy(test, GUEST_2, UUID_1, two);
    put_key(test, key);
    custodian_open(test);
    expect_value(test, UUID_1, "new");
    expect_bindings(test, BOTH);
    expect_owned_alone(test, UUID_1, GUEST_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_2, "new");
    expect_value(test, UUID_1, "new");
}

static void
test_a_good_key_beside_damaged_copies_stays(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = take_unowned_key(test);

    custodian_close(test);
    put_key(test, key);
    damage_copy(test, GUEST_1, UUID_1);
    damage_copy(test, GUEST_2, UUID_1);
    custodian_open(test);
    expect_value(test, UUID_1, "old");
    g_assert_true(has_key(test, UUID_1));
    set_value(test, UUID_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_1, "new");
}

/* Two histories of one secret: none is thrown away. */
static void
test_other_values_of_the_same_generation_are_kept(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) one = get_copy(test, GUEST_1, UUID_1);
    g_autoptr(GBytes) two = take_old_copy(test, GUEST_2);
    g_autoptr(GBytes) other = get_copy(test, GUEST_2, UUID_1);
    g_autoptr(GBytes) after = NULL;

    custodian_close(test);
    /* With the index there can't be two. */
    g_clear_pointer(&test->index, g_free);
    put_copy(test, GUEST_1, UUID_1, one);
    put_copy(test, GUEST_2, UUID_1, two);
    custodian_open(test);
    set_value(test, UUID_1, "one");
    put_copy(test, GUEST_2, UUID_1, other);
    custodian_reopen(test);
    expect_value(test, UUID_1, "one");
    expect_bindings(test, BOTH);
    expect_logged(test, GUEST_2 "/" UUID_1 ".key: it has another value of the same generation");
    after = get_copy(test, GUEST_2, UUID_1);
    g_assert_true(g_bytes_equal(other, after));
}

/* It opens until the next key-encryption generation is the only one. */
static void
test_a_copy_of_an_undefined_secret_is_not_newer(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) old = NULL;

    set_value(test, UUID_1, "older");
    set_value(test, UUID_1, "old");
    old = get_copy(test, GUEST_2, UUID_1);
    undefine(test, UUID_1);
    define(test, UUID_1 " volume /a private");
    set_value(test, UUID_1, "new");
    bind_to(test, UUID_1, GUEST_1);
    put_copy(test, GUEST_2, UUID_1, old);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "new");
    custodian_reopen(test);
    expect_value(test, UUID_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_1, "new");
}

/* ---- other starts ---- */

static void
test_no_master_key_is_made_where_guests_have_copies(struct custodian *test, gconstpointer unused)
{
    custodian_close(test);
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    custodian_open(test);
    folder_expect_none(&test->folder, "master.key");
    folder_expect_none(&test->folder, "master.slots");
    expect_no_value(test, UUID_1, ERROR_OPERATION_INVALID, "locked");
}

static void
test_another_master_key_locks(struct custodian *test, gconstpointer unused)
{
    custodian_close(test);
    g_bytes_unref(replace_slots(test));
    custodian_open(test);
    g_assert_nonnull(
        strstr(secret_service_locked_reason(test->service), "with another master key"));
    expect_bindings(test, BOTH);
}

static void
test_copies_come_back_with_their_definition(struct custodian *test, gconstpointer unused)
{
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    custodian_open(test);
    expect_bindings(test, "");
    expect_logged(test, UUID_1 ".key is there without " UUID_1 ".xml");
    define(test, UUID_1 " volume /a private");
    expect_bindings(test, BOTH);
    expect_value(test, UUID_1, "old");
}

static void
test_a_put_takes_the_place_of_left_copies(struct custodian *test, gconstpointer unused)
{
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    custodian_open(test);
    g_assert_no_error(try_put(test, UUID_1 " volume /a private", "put", GUEST_2));
    g_assert_false(has_copy(test, GUEST_1, UUID_1));
    custodian_reopen(test);
    expect_value(test, UUID_1, "put");
    expect_bindings(test, "11111111 a2222222\n");
}

static void
test_a_left_key_that_a_put_replaces_is_an_erasure(struct custodian *test, gconstpointer unused)
{
    define(test, UUID_2 " volume /b");
    set_value(test, UUID_2, "left");
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_2 ".xml", 0), ==, 0);
    custodian_open(test);
    g_assert_no_error(try_put(test, UUID_3 " volume /c", "other", ""));
    g_assert_false(generations_is_due(test->generations));
    g_assert_no_error(try_put(test, UUID_2 " volume /b", "put", ""));
    g_assert_true(generations_is_due(test->generations));
}

static void
test_a_clear_value_beside_copies_is_left(struct custodian *test, gconstpointer unused)
{
    custodian_close(test);
    folder_put_text(&test->secrets, UUID_1 ".base64", "Y2xlYXI=");
    custodian_open(test);
    expect_value(test, UUID_1, "old");
    expect_logged(test, UUID_1 ".base64 is there, and the secret belongs to guests");
    set_value(test, UUID_1, "new");
    folder_expect_none(&test->secrets, UUID_1 ".base64");
}

/* As if the folder were on a medium that is not here. */
static void
hide_folder(const struct custodian *test, const char *guest)
{
    g_autofree char *folder = g_build_filename(test->guests_dir, guest, NULL);
    g_autofree char *away = folder_path(&test->folder, "away");

    g_assert_cmpint(g_rename(folder, away), ==, 0);
    g_assert_cmpint(symlink(away, folder), ==, 0);
}

static void
show_folder(const struct custodian *test, const char *guest)
{
    g_autofree char *folder = g_build_filename(test->guests_dir, guest, NULL);
    g_autofree char *away = folder_path(&test->folder, "away");

    g_assert_cmpint(g_unlink(folder), ==, 0);
    g_assert_cmpint(g_rename(away, folder), ==, 0);
}

static void
test_nothing_is_erased_while_a_guests_keys_are_not_known(struct custodian *test,
                                                         gconstpointer unused)
{
    g_autoptr(GError) undefined = NULL;
    g_autoptr(GError) erased = NULL;

    custodian_close(test);
    hide_folder(test, GUEST_1);
    custodian_open(test);
    undefined = try_undefine(test, UUID_1);
    expect_error_part(undefined, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      GUEST_1 " is not a folder");
    erased = try_erase(test, UUID_1, GUEST_2, "whatever");
    expect_error_part(erased, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET, "reload the daemon");
    show_folder(test, GUEST_1);
    secret_service_reload(test->service);
    undefine(test, UUID_1);
    g_assert_false(has_copy(test, GUEST_1, UUID_1));
    g_assert_false(has_copy(test, GUEST_2, UUID_1));
}

/* The guest's copy is of generation 3 then. */
static void
hide_only_copy(struct custodian *test)
{
    unbind_from(test, UUID_1, GUEST_2);
    set_value(test, UUID_1, "older");
    set_value(test, UUID_1, "old");
    custodian_close(test);
    hide_folder(test, GUEST_1);
}

static void
show_copy_and_expect(struct custodian *test, const char *value)
{
    expect_value(test, UUID_1, value);
    custodian_close(test);
    show_folder(test, GUEST_1);
    custodian_open(test);
    expect_value(test, UUID_1, value);
    expect_owned_alone(test, UUID_1, GUEST_1, value);
}

/* They would hide that the right ones are missing, for values that are not known. */
static void
test_no_keys_are_made_while_copies_are_not_known(struct custodian *test, gconstpointer unused)
{
    hide_only_copy(test);
    g_assert_cmpint(g_unlink(test->generations), ==, 0);
    custodian_open(test);
    g_assert_nonnull(strstr(secret_service_locked_reason(test->service), GUEST_1));
    folder_expect_none(&test->folder, "generations");
    custodian_close(test);
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    custodian_open(test);
    g_assert_nonnull(secret_service_locked_reason(test->service));
    folder_expect_none(&test->folder, "master.slots");
    folder_expect_none(&test->folder, "generations");
}

static void
test_a_value_set_while_a_copy_was_not_known_counts(struct custodian *test, gconstpointer unused)
{
    hide_only_copy(test);
    custodian_open(test);
    set_value(test, UUID_1, "new");
    show_copy_and_expect(test, "new");
}

static void
test_a_value_put_while_a_copy_was_not_known_counts(struct custodian *test, gconstpointer unused)
{
    hide_only_copy(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    custodian_open(test);
    g_assert_no_error(try_put(test, UUID_1 " volume /a private", "new", ""));
    show_copy_and_expect(test, "new");
}

static void
test_a_clear_value_sealed_while_a_copy_was_not_known_counts(struct custodian *test,
                                                            gconstpointer unused)
{
    hide_only_copy(test);
    folder_put_text(&test->secrets, UUID_1 ".base64", "Y2xlYXI=");
    custodian_open(test);
    show_copy_and_expect(test, "clear");
}

static void
test_an_undefinition_takes_left_copies_with_it(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) copy = get_copy(test, GUEST_1, UUID_1);

    unbind_from(test, UUID_1, GUEST_1);
    put_copy(test, GUEST_1, UUID_1, copy);
    folder_put_text(&test->secrets, UUID_1 ".xml", "whatever");
    secret_service_reload(test->service);
    expect_bindings(test, "11111111 a2222222\n");
    undefine(test, UUID_1);
    g_assert_false(has_copy(test, GUEST_1, UUID_1));
    g_assert_false(has_copy(test, GUEST_2, UUID_1));
    define(test, UUID_1 " volume /a private");
    expect_bindings(test, "");
    expect_no_value(test, UUID_1, ERROR_NO_SECRET, "does not have a value");
}

static void
test_a_value_that_comes_to_disk_takes_the_place_of_left_copies(struct custodian *test,
                                                               gconstpointer unused)
{
    set_value(test, UUID_1, "newer");
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    custodian_open(test);
    define(test, UUID_1 " volume /a private ephemeral");
    set_value(test, UUID_1, "from memory");
    define(test, UUID_1 " volume /a private");
    expect_value(test, UUID_1, "from memory");
    custodian_reopen(test);
    expect_value(test, UUID_1, "from memory");
    expect_bindings(test, "");
}

/* ---- reload ---- */

static void
test_a_reload_finds_nothing_new(struct custodian *test, gconstpointer unused)
{
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "old");
    expect_bindings(test, BOTH);
    expect_not_logged(test, "replaced");
    expect_not_logged(test, "differ");
}

static void
test_a_reload_repairs_an_older_copy(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) old = take_old_copy(test, GUEST_2);

    put_copy(test, GUEST_2, UUID_1, old);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_2, "new");
}

static void
test_a_reload_keeps_the_value_in_memory(struct custodian *test, gconstpointer unused)
{
    damage_copy(test, GUEST_1, UUID_1);
    damage_copy(test, GUEST_2, UUID_1);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "old");
    expect_logged(test, "the value that is in memory stays in use");
    folder_remove_tree(test->guests_dir);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "old");
    expect_bindings(test, BOTH);
    set_value(test, UUID_1, "new");
    expect_owned_alone(test, UUID_1, GUEST_1, "new");
}

static void
test_a_reload_sees_copies_that_came_and_went(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) two = get_copy(test, GUEST_2, UUID_1);
    g_autofree char *path = copy_path(test, GUEST_2, UUID_1);

    unbind_from(test, UUID_1, GUEST_2);
    put_copy(test, GUEST_2, UUID_1, two);
    secret_service_reload(test->service);
    expect_bindings(test, BOTH);
    g_assert_cmpint(g_unlink(path), ==, 0);
    secret_service_reload(test->service);
    expect_bindings(test, "11111111 a1111111\n");
    expect_value(test, UUID_1, "old");
}

static void
test_a_reload_unlocks_owned_values(struct custodian *test, gconstpointer unused)
{
    g_autofree char *away = folder_path(&test->folder, "away");

    custodian_close(test);
    g_assert_cmpint(g_rename(test->master_key, away), ==, 0);
    custodian_open(test);
    g_assert_cmpint(g_rename(away, test->master_key), ==, 0);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "old");
    expect_bindings(test, BOTH);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_owner_load/" #name, struct custodian, NULL, set_up, test_##name,   \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(an_older_copy_is_written_anew);
    ADD(a_damaged_copy_is_kept_and_named);
    ADD(without_a_good_copy_the_value_is_unavailable);
    ADD(a_copy_of_another_guest_is_refused);
    ADD(an_unowned_key_under_a_guest_is_refused);
    ADD(a_key_beside_copies_that_agree_goes);
    ADD(an_older_key_beside_copies_goes);
    ADD(a_newer_key_beside_copies_counts);
    ADD(a_good_key_beside_damaged_copies_stays);
    ADD(other_values_of_the_same_generation_are_kept);
    ADD(a_copy_of_an_undefined_secret_is_not_newer);
    ADD(no_master_key_is_made_where_guests_have_copies);
    ADD(another_master_key_locks);
    ADD(copies_come_back_with_their_definition);
    ADD(a_put_takes_the_place_of_left_copies);
    ADD(a_left_key_that_a_put_replaces_is_an_erasure);
    ADD(a_clear_value_beside_copies_is_left);
    ADD(nothing_is_erased_while_a_guests_keys_are_not_known);
    ADD(no_keys_are_made_while_copies_are_not_known);
    ADD(a_value_set_while_a_copy_was_not_known_counts);
    ADD(a_value_put_while_a_copy_was_not_known_counts);
    ADD(a_clear_value_sealed_while_a_copy_was_not_known_counts);
    ADD(an_undefinition_takes_left_copies_with_it);
    ADD(a_value_that_comes_to_disk_takes_the_place_of_left_copies);
    ADD(a_reload_finds_nothing_new);
    ADD(a_reload_repairs_an_older_copy);
    ADD(a_reload_keeps_the_value_in_memory);
    ADD(a_reload_sees_copies_that_came_and_went);
    ADD(a_reload_unlocks_owned_values);
    return g_test_run();
}
