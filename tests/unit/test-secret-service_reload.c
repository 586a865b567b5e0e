/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a reload makes of values and of a master key that were changed under the running daemon: it
 * then has what the next start would have, but gives no good value up for a bad file.
 */
#include "custodian_slots.h"
#include "secret/sealed.h"
#include "secret/service_master.h"

static void
change_byte(struct custodian *test, const char *name, gssize at)
{
    g_autoptr(GBytes) content = folder_get(&test->folder, name);
    gsize len = 0;
    g_autofree uint8_t *bytes =
        g_memdup2(g_bytes_get_data(content, &len), g_bytes_get_size(content));

    bytes[at < 0 ? (gssize)len + at : at] ^= 1;
    folder_put(&test->folder, name, bytes, len);
}

static void
change_last_byte(struct custodian *test, const char *name)
{
    change_byte(test, name, -1);
}

static void
test_value_from_a_backup_is_refused(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) backup = folder_get(&test->secrets, UUID_1 ".key");

    set_value(test, UUID_1, "newer");
    put_first_key(test, backup);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "newer");
    expect_logged(test, "its file has generation 1, but generation 2 was stored: it was put back "
                        "from an older backup");
    expect_logged(test, "the value that is in memory stays in use, and is lost when the daemon "
                        "ends");
    custodian_reopen(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "has generation 1, but generation 2 was");
}

/* A file that the index says nothing against. */
static void
test_another_good_file_counts_at_once_and_after_a_start(struct custodian *test,
                                                        gconstpointer unused)
{
    g_autoptr(GBytes) first = folder_get(&test->secrets, UUID_1 ".key");
    g_autoptr(GBytes) newer = NULL;

    set_value(test, UUID_1, "newer");
    newer = folder_get(&test->secrets, UUID_1 ".key");
    custodian_close(test);
    g_clear_pointer(&test->index, g_free);
    put_first_key(test, first);
    custodian_open(test);
    expect_value(test, UUID_1, "first");
    put_first_key(test, newer);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "newer");
    expect_logged(test, UUID_1 ".key was replaced by another program: the value in it, of "
                               "generation 2, counts now, instead of that of generation 1");
    custodian_reopen(test);
    expect_value(test, UUID_1, "newer");
}

static void
test_value_set_after_a_backup_was_put_back_counts(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) backup = folder_get(&test->secrets, UUID_1 ".key");

    set_value(test, UUID_1, "newer");
    put_first_key(test, backup);
    secret_service_reload(test->service);
    set_value(test, UUID_1, "newest");
    expect_value(test, UUID_1, "newest");
    custodian_reopen(test);
    expect_value(test, UUID_1, "newest");
}

static void
test_good_value_is_not_given_up_for_a_bad_file(struct custodian *test, gconstpointer unused)
{
    folder_put_text(&test->secrets, UUID_1 ".key", "torn");
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "first");
    expect_logged(test, UUID_1 ".key: the sealed value of secret " UUID_1
                               " is not in virtcrypt's format; ");
    expect_logged(test, "the value that is in memory stays in use, and is lost when the daemon "
                        "ends: put a good copy of the file back, or set the value again");
    set_value(test, UUID_1, "again");
    custodian_reopen(test);
    expect_value(test, UUID_1, "again");
}

static void
test_good_value_is_not_given_up_for_no_file(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a about:changed");
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".key", 0), ==, 0);
    secret_service_reload(test->service);
    expect_defined(test, UUID_1 " volume /a about:changed");
    expect_value(test, UUID_1, "first");
    expect_logged(test, UUID_1 ".key: it is gone; the value that is in memory stays in use");
}

static void
test_unchanged_values_are_not_spoken_of(struct custodian *test, gconstpointer unused)
{
    put_xml(test, UUID_1 " volume /a about:changed");
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "first");
    expect_not_logged(test, ".key");
    expect_not_logged(test, "master key");
}

/* Values that are set from now on could not be opened after the next start. */
static void
test_replaced_master_key_is_told(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) slots = replace_slots(test);

    secret_service_reload(test->service);
    expect_logged(test, "were replaced by another master key's; the daemon goes on with the one "
                        "that it has in memory, and when it ends all sealed values are lost "
                        "without it: put that file back");
    expect_value(test, UUID_1, "first");
    set_value(test, UUID_1, "second");
    put_back_slots(test, slots);
    custodian_reopen(test);
    expect_value(test, UUID_1, "second");
}

static void
test_slots_that_went_away_are_written_again(struct custodian *test, gconstpointer unused)
{
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    secret_service_reload(test->service);
    expect_logged(test, "were gone, and are written again from memory");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

/* What is in memory is the only good copy there is. */
static void
test_spoilt_slots_are_written_again(struct custodian *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "master.slots", "torn");
    secret_service_reload(test->service);
    expect_logged(test, "put a good copy of the file back), and are written again from memory");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

static void
test_slots_that_were_changed_are_written_again(struct custodian *test, gconstpointer unused)
{
    struct master_status status;

    change_last_byte(test, "master.slots");
    secret_service_reload(test->service);
    expect_logged(test, "), and are written again from memory");
    custodian_reopen(test);
    secret_service_get_master(test->service, &status);
    g_assert_null(status.slots_problem);
    master_status_clear(&status);
    expect_value(test, UUID_1, "first");
}

/* They came before the start: what is in memory of them is no better. */
static void
test_slots_that_were_changed_before_are_left(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) changed = NULL;

    custodian_close(test);
    change_last_byte(test, "master.slots");
    changed = folder_get(&test->folder, "master.slots");
    custodian_open(test);
    secret_service_reload(test->service);
    folder_expect(&test->folder, "master.slots", changed);
}

/* Of a store that is being put back, perhaps, which another program is for. */
static void
test_slots_in_another_format_are_left(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) changed = NULL;

    change_byte(test, "master.slots", strlen("VCSLOTS1") + 1);
    changed = folder_get(&test->folder, "master.slots");
    secret_service_reload(test->service);
    expect_logged(test, "it is in a format that this program does not know");
    folder_expect(&test->folder, "master.slots", changed);
}

static void
test_spoilt_key_file_is_told(struct custodian *test, gconstpointer unused)
{
    folder_put_text(&test->folder, "master.key", "torn");
    secret_service_reload(test->service);
    expect_logged(test, "bytes instead of 32; put your copy of it back; the daemon goes on with "
                        "the master key that it has in memory, and will be locked at its next "
                        "start");
    expect_value(test, UUID_1, "first");
}

/* The daemon was locked and has not read it; then its definition can't be read. */
static void
test_clear_value_that_was_not_taken_over_is_an_error(struct custodian *test, gconstpointer unused)
{
    g_autofree char *key = NULL;
    g_autoptr(GError) error = NULL;
    gsize len = 0;

    custodian_close(test);
    put_xml(test, UUID_2 " volume /b");
    folder_put_text(&test->secrets, UUID_2 ".base64", "c2VjcmV0");
    g_assert_true(g_file_get_contents(test->master_key, &key, &len, NULL));
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    custodian_open(test);
    folder_put_text(&test->secrets, UUID_2 ".xml", "torn");
    folder_put(&test->folder, "master.key", key, len);
    secret_service_reload(test->service);
    expect_no_value(test, UUID_2, ERROR_INVALID_SECRET,
                    "is in libvirt's own file, which was not taken over");
    error = try_define(test, UUID_2 " volume /b private");
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, "was not taken over");
    put_xml(test, UUID_2 " volume /b");
    secret_service_reload(test->service);
    expect_value(test, UUID_2, "secret");
}

/* As when the secret is defined for the first time: else the value would be there after the next
 * start only. */
static void
test_ephemeral_secret_that_becomes_persistent_finds_its_value(struct custodian *test,
                                                              gconstpointer unused)
{
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    custodian_open(test);
    define(test, UUID_1 " volume /a ephemeral");
    define(test, UUID_1 " volume /a");
    expect_value(test, UUID_1, "first");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_reload/" #name, struct custodian, NULL, custodian_set_up_first,    \
               test_##name, custodian_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(value_from_a_backup_is_refused);
    ADD(another_good_file_counts_at_once_and_after_a_start);
    ADD(value_set_after_a_backup_was_put_back_counts);
    ADD(good_value_is_not_given_up_for_a_bad_file);
    ADD(good_value_is_not_given_up_for_no_file);
    ADD(unchanged_values_are_not_spoken_of);
    ADD(replaced_master_key_is_told);
    ADD(slots_that_went_away_are_written_again);
    ADD(spoilt_slots_are_written_again);
    ADD(slots_that_were_changed_are_written_again);
    ADD(slots_that_were_changed_before_are_left);
    ADD(slots_in_another_format_are_left);
    ADD(spoilt_key_file_is_told);
    ADD(clear_value_that_was_not_taken_over_is_an_error);
    ADD(ephemeral_secret_that_becomes_persistent_finds_its_value);
    return g_test_run();
}
