/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Records of guests: on disk and in memory alike, and never guessed when a file can't be read.
 */
#include "guest/records.h"

#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "guest/volume.h"

#define GUEST  "0bd8f1a4-1111-4222-8333-444455556666"
#define OTHER  "0bd8f1a4-1111-4222-8333-777788889999"
#define SECRET "d9a3c9a0-1111-4222-8333-444455556666"

struct fixture {
    struct folder root;
    char *dir;
    struct guest_records *records;
};

static void
open_records(struct fixture *test)
{
    g_autoptr(GError) error = NULL;

    test->records = guest_records_new(test->dir, &error);
    g_assert_no_error(error);
}

static void
reopen(struct fixture *test)
{
    guest_records_free(test->records);
    open_records(test);
}

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->root);
    test->dir = folder_path(&test->root, "a/guests");
    open_records(test);
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    guest_records_free(test->records);
    g_free(test->dir);
    folder_clear(&test->root);
}

static struct uuid
to_uuid(const char *text)
{
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return uuid;
}

static void
put(struct fixture *test, const char *guest, const char *name)
{
    struct uuid uuid = to_uuid(guest);
    struct uuid secret = to_uuid(SECRET);
    g_autoptr(guest_record_t) record = guest_record_new(&uuid, name, "qemu:///system");
    g_autoptr(GError) error = NULL;

    guest_record_take(record, &secret, GUEST_KEY_SENT);
    guest_records_put(test->records, record, &error);
    g_assert_no_error(error);
}

/* NULL: there is none. */
static void
expect_name(struct fixture *test, const char *guest, const char *name)
{
    struct uuid uuid = to_uuid(guest);
    g_autoptr(GError) error = NULL;
    g_autoptr(guest_record_t) record = guest_records_get(test->records, &uuid, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(record ? record->name : NULL, ==, name);
}

static void
write_file(struct fixture *test, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(test->dir, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
expect_unreadable(struct fixture *test, const char *part)
{
    struct uuid uuid = to_uuid(GUEST);
    g_autoptr(GError) error = NULL;

    g_assert_null(guest_records_get(test->records, &uuid, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_DOMAIN, part);
    g_assert_true(guest_records_has_unreadable(test->records));
}

static void
test_a_record_outlives_a_restart(struct fixture *test, gconstpointer unused)
{
    put(test, GUEST, "one");
    put(test, GUEST, "renamed");
    expect_name(test, GUEST, "renamed");
    reopen(test);
    expect_name(test, GUEST, "renamed");
    expect_name(test, OTHER, NULL);
    g_assert_false(guest_records_has_unreadable(test->records));
}

static void
test_files_are_for_root_alone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *file = g_build_filename(test->dir, GUEST ".xml", NULL);
    struct stat info;

    put(test, GUEST, "one");
    g_assert_cmpint(stat(file, &info), ==, 0);
    g_assert_cmpuint(info.st_mode & 07777, ==, 0600);
    g_assert_cmpint(stat(test->dir, &info), ==, 0);
    g_assert_cmpuint(info.st_mode & 07777, ==, 0700);
}

static void
test_the_list_is_ordered_and_made_of_copies(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GPtrArray) list = NULL;

    put(test, OTHER, "two");
    put(test, GUEST, "one");
    list = guest_records_list(test->records);
    g_assert_cmpuint(list->len, ==, 2);
    for (guint i = 0; i < list->len; i++) {
        struct guest_record *record = list->pdata[i];

        g_assert_cmpstr(record->name, ==, i == 0 ? "one" : "two");
        record->name[0] = 'x';
    }
    expect_name(test, GUEST, "one");
}

static void
test_a_removed_record_is_gone_for_good(struct fixture *test, gconstpointer unused)
{
    struct uuid guest = to_uuid(GUEST);
    g_autoptr(GError) error = NULL;

    put(test, GUEST, "one");
    g_assert_true(guest_records_remove(test->records, &guest, &error));
    g_assert_true(guest_records_remove(test->records, &guest, &error));
    g_assert_no_error(error);
    expect_name(test, GUEST, NULL);
    reopen(test);
    expect_name(test, GUEST, NULL);
}

static void
test_what_can_not_be_read_is_kept_and_says_why(struct fixture *test, gconstpointer unused)
{
    struct uuid guest = to_uuid(GUEST);
    g_autoptr(guest_record_t) record = guest_record_new(&guest, "new", NULL);
    g_autoptr(GError) put_error = NULL;
    g_autoptr(GError) remove_error = NULL;
    g_autofree char *file = g_build_filename(test->dir, GUEST ".xml", NULL);
    g_autofree char *content = NULL;
    g_autoptr(GPtrArray) list = NULL;

    put(test, OTHER, "two");
    write_file(test, GUEST ".xml", "<guestRecord version='2'/>");
    reopen(test);
    expect_unreadable(test, "the record of guest " GUEST " can't be read (the record has version "
                            "'2'");
    expect_name(test, OTHER, "two");
    list = guest_records_list(test->records);
    g_assert_cmpuint(list->len, ==, 1);
    g_assert_false(guest_records_put(test->records, record, &put_error));
    expect_error_part(put_error, ERROR_OPERATION_FAILED, ERROR_FROM_DOMAIN, "and restart");
    g_assert_false(guest_records_remove(test->records, &guest, &remove_error));
    expect_error_part(remove_error, ERROR_OPERATION_FAILED, ERROR_FROM_DOMAIN, "and restart");
    g_assert_true(g_file_get_contents(file, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "<guestRecord version='2'/>");
}

static void
test_a_record_of_another_guest_is_not_taken(struct fixture *test, gconstpointer unused)
{
    g_autofree char *from = g_build_filename(test->dir, OTHER ".xml", NULL);
    g_autofree char *to = g_build_filename(test->dir, GUEST ".xml", NULL);

    put(test, OTHER, "two");
    g_assert_cmpint(g_rename(from, to), ==, 0);
    reopen(test);
    expect_unreadable(test, "it is the record of guest " OTHER);
}

static void
test_a_record_without_a_guest_counts_as_unreadable(struct fixture *test, gconstpointer unused)
{
    static const char *const names[] = {"copy.xml", ".xml",
                                        "0BD8F1A4-1111-4222-8333-444455556666.xml"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(test->dir, names[i], NULL);

        write_file(test, names[i], "");
        reopen(test);
        g_assert_true(guest_records_has_unreadable(test->records));
        g_assert_cmpint(g_unlink(path), ==, 0);
    }
    write_file(test, "README", "what is here");
    write_file(test, GUEST ".xml.new", "<guest"); /* of a write that was interrupted */
    reopen(test);
    g_assert_false(guest_records_has_unreadable(test->records));
}

static void
test_a_record_that_could_not_be_read_back_is_not_written(struct fixture *test, gconstpointer unused)
{
    struct uuid guest = to_uuid(GUEST);
    struct uuid secret = to_uuid(SECRET);
    g_autoptr(guest_record_t) record = guest_record_new(&guest, "bad \xff", NULL);
    g_autoptr(GError) error = NULL;

    guest_record_take(record, &secret, GUEST_KEY_SENT);
    g_assert_false(guest_records_put(test->records, record, &error));
    g_assert_true(g_str_has_prefix(error->message, "can't write the record of guest " GUEST ": "));
    reopen(test);
    expect_name(test, GUEST, NULL);
    g_assert_false(guest_records_has_unreadable(test->records));
}

static void
test_a_failed_write_leaves_the_old_record(struct fixture *test, gconstpointer unused)
{
    struct uuid guest = to_uuid(GUEST);
    g_autoptr(guest_record_t) record = guest_record_new(&guest, "new", NULL);
    g_autofree char *in_the_way = g_build_filename(test->dir, GUEST ".xml.new", NULL);
    g_autoptr(GError) error = NULL;

    put(test, GUEST, "old");
    g_assert_cmpint(g_mkdir(in_the_way, 0700), ==, 0);
    g_assert_false(guest_records_put(test->records, record, &error));
    g_assert_true(g_str_has_prefix(error->message, "can't write the record of guest " GUEST ": "));
    expect_name(test, GUEST, "old");
    reopen(test);
    expect_name(test, GUEST, "old");
}

/* A key of the guest, of `volume`. */
static void
put_key(struct fixture *test, const char *volume, const char *place, enum guest_key_origin origin)
{
    struct uuid guest = to_uuid(GUEST);
    struct uuid secret = to_uuid(SECRET);
    g_autoptr(guest_record_t) record = guest_record_new(&guest, "web1", NULL);
    struct guest_key *key = guest_record_take(record, &secret, origin);
    g_autoptr(GError) error = NULL;

    guest_key_set_volume(key, volume);
    guest_key_set_place(key, g_strdup(place));
    guest_records_put(test->records, record, &error);
    g_assert_no_error(error);
}

static void
test_a_key_is_needed_elsewhere_if_another_volume_may_be_there(struct fixture *test,
                                                              gconstpointer unused)
{
    g_autofree char *volume = g_build_filename(test->dir, "a", NULL);
    g_autofree char *other = g_build_filename(test->dir, "b", NULL);
    g_autofree char *place = NULL;
    struct uuid secret = to_uuid(SECRET);
    struct uuid stranger = to_uuid(GUEST);

    g_assert_true(g_file_set_contents(other, "x", -1, NULL));
    place = guest_volume_find_place(other);
    put_key(test, volume, NULL, GUEST_KEY_GENERATED);
    g_assert_false(guest_records_need_elsewhere(test->records, &secret, volume));
    put_key(test, volume, GUEST_KEY_SEVERAL, GUEST_KEY_GENERATED);
    g_assert_true(guest_records_need_elsewhere(test->records, &secret, volume));
    put_key(test, other, place, GUEST_KEY_GENERATED);
    g_assert_true(guest_records_need_elsewhere(test->records, &secret, volume));
    g_assert_false(guest_records_need_elsewhere(test->records, &stranger, volume));
    put_key(test, other, place, GUEST_KEY_REFUSED);
    g_assert_false(guest_records_need_elsewhere(test->records, &secret, volume));
    put_key(test, NULL, NULL, GUEST_KEY_MANUAL);
    g_assert_true(guest_records_need_elsewhere(test->records, &secret, volume));
    put_key(test, other, place, GUEST_KEY_GENERATED);
    g_assert_cmpint(unlink(other), ==, 0);
    g_assert_false(guest_records_need_elsewhere(test->records, &secret, volume));
}

static void
test_of_many_records_each_is_written_on_its_own(struct fixture *test, gconstpointer unused)
{
    enum { COUNT = 40, BAD = 7 };
    g_autoptr(GPtrArray) changed = g_ptr_array_new();
    g_autoptr(GPtrArray) errors = NULL;

    for (unsigned int i = 0; i < COUNT; i++) {
        g_autofree char *text = g_strdup_printf("0bd8f1a4-1111-4222-8333-%012u", i);
        struct uuid guest = to_uuid(text);

        g_ptr_array_add(changed, guest_record_new(&guest, i == BAD ? "bad \xff" : text, NULL));
    }
    errors = guest_records_put_all(test->records, changed);
    reopen(test);
    for (unsigned int i = 0; i < COUNT; i++) {
        g_autofree char *text = g_strdup_printf("0bd8f1a4-1111-4222-8333-%012u", i);

        g_assert_cmpint(errors->pdata[i] != NULL, ==, i == BAD);
        expect_name(test, text, i == BAD ? NULL : text);
        guest_record_free(changed->pdata[i]);
    }
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/records/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_record_outlives_a_restart);
    ADD(files_are_for_root_alone);
    ADD(the_list_is_ordered_and_made_of_copies);
    ADD(a_removed_record_is_gone_for_good);
    ADD(what_can_not_be_read_is_kept_and_says_why);
    ADD(a_record_of_another_guest_is_not_taken);
    ADD(a_record_without_a_guest_counts_as_unreadable);
    ADD(a_record_that_could_not_be_read_back_is_not_written);
    ADD(a_failed_write_leaves_the_old_record);
    ADD(a_key_is_needed_elsewhere_if_another_volume_may_be_there);
    ADD(of_many_records_each_is_written_on_its_own);
    return g_test_run();
}
