/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Uses: counted by user, kept over restarts, and dropped with guests that are gone.
 */
#include "storage/uses.h"

#include "expect.h"
#include "folder.h"

#define WEB  "11111111-2222-4333-8444-555555555555"
#define MAIL "22222222-2222-4333-8444-555555555555"

struct fixture {
    struct folder folder;
    struct storage_uses *uses;
};

static void
open_uses(struct fixture *test)
{
    g_autoptr(GError) error = NULL;

    test->uses = storage_uses_new(test->folder.path, &error);
    g_assert_no_error(error);
}

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    open_uses(test);
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    storage_uses_free(test->uses);
    folder_clear(&test->folder);
}

static void
reopen(struct fixture *test)
{
    storage_uses_free(test->uses);
    open_uses(test);
}

static struct storage_user
guest(const char *uuid, const char *name, bool is_readonly)
{
    struct storage_user user = {
        .kind = STORAGE_USER_GUEST,
        .name = (char *)name,
        .is_readonly = is_readonly,
    };

    g_assert_true(uuid_parse(uuid, &user.guest));
    return user;
}

static void
add(struct fixture *test, struct storage_user user)
{
    g_autoptr(GError) error = NULL;

    storage_uses_add(test->uses, "pool", "disk", &user, &error);
    g_assert_no_error(error);
}

static void
expect_users(struct fixture *test, const char *expected)
{
    g_autofree char *text = storage_uses_describe(test->uses, "pool", "disk");

    g_assert_cmpstr(text, ==, expected);
}

static void
test_users_are_named(struct fixture *test, gconstpointer unused)
{
    const struct storage_user manual = {.kind = STORAGE_USER_MANUAL};
    struct storage_user stream = guest(WEB, NULL, true);

    stream.kind = STORAGE_USER_STREAM;
    expect_users(test, NULL);
    add(test, guest(WEB, "web1", false));
    expect_users(test, "guest 'web1'");
    add(test, manual);
    expect_users(test, "guest 'web1' and virtcrypt vol-open");
    add(test, stream);
    expect_users(test, "guest 'web1', virtcrypt vol-open and an upload or download");
    g_assert_cmpuint(storage_uses_count(test->uses, "pool", "disk"), ==, 3);
}

static void
test_adding_twice_is_once(struct fixture *test, gconstpointer unused)
{
    const struct storage_user web = guest(WEB, "web1", false);

    add(test, web);
    add(test, web);
    g_assert_cmpuint(storage_uses_count(test->uses, "pool", "disk"), ==, 1);
    g_assert_true(storage_uses_remove(test->uses, "pool", "disk", &web, NULL));
    g_assert_cmpuint(storage_uses_count(test->uses, "pool", "disk"), ==, 0);
}

static void
test_use_that_is_not_there_is_refused(struct fixture *test, gconstpointer unused)
{
    const struct storage_user mail = guest(MAIL, "mail", false);
    g_autoptr(GError) error = NULL;

    add(test, guest(WEB, "web1", false));
    g_assert_false(storage_uses_remove(test->uses, "pool", "disk", &mail, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                      "volume 'disk' of pool 'pool' is not open");
}

static void
test_restart_keeps_guests_and_people_but_no_streams(struct fixture *test, gconstpointer unused)
{
    const struct storage_user manual = {.kind = STORAGE_USER_MANUAL};
    struct storage_user stream = guest(MAIL, NULL, true);

    stream.kind = STORAGE_USER_STREAM;
    add(test, guest(WEB, "a 'web'\n1", false));
    add(test, manual);
    add(test, stream);
    reopen(test);
    expect_users(test, "guest 'a 'web'\n1' and virtcrypt vol-open");
}

static void
test_last_removal_leaves_no_file(struct fixture *test, gconstpointer unused)
{
    const struct storage_user web = guest(WEB, "web1", false);

    add(test, web);
    g_assert_true(storage_uses_remove(test->uses, "pool", "disk", &web, NULL));
    folder_expect_none(&test->folder, "pool/disk.uses");
    reopen(test);
    expect_users(test, NULL);
}

static void
test_volume_is_readonly_while_all_only_read(struct fixture *test, gconstpointer unused)
{
    g_assert_false(storage_uses_is_readonly(test->uses, "pool", "disk"));
    add(test, guest(WEB, "web1", true));
    g_assert_true(storage_uses_is_readonly(test->uses, "pool", "disk"));
    add(test, guest(MAIL, "mail", false));
    g_assert_false(storage_uses_is_readonly(test->uses, "pool", "disk"));
}

static void
test_volumes_of_a_guest_are_listed(struct fixture *test, gconstpointer unused)
{
    const struct storage_user web = guest(WEB, "web1", false);
    g_autoptr(GPtrArray) places = NULL;

    add(test, guest(MAIL, "mail", false));
    g_assert_true(storage_uses_add(test->uses, "pool", "other", &web, NULL));
    places = storage_uses_of_guest(test->uses, &web.guest);
    g_assert_cmpuint(places->len, ==, 1);
    g_assert_cmpstr(((struct storage_use_place *)places->pdata[0])->volume, ==, "other");
}

static void
test_guest_that_is_gone_is_dropped(struct fixture *test, gconstpointer unused)
{
    struct storage_user web = guest(WEB, "web1", false);
    const struct storage_user manual = {.kind = STORAGE_USER_MANUAL};
    g_autoptr(GPtrArray) running = g_ptr_array_new();

    g_ptr_array_add(running, &web.guest);
    add(test, web);
    add(test, guest(MAIL, "mail", false));
    add(test, manual);
    storage_uses_drop_missing(test->uses, running, 60);
    g_assert_cmpuint(storage_uses_count(test->uses, "pool", "disk"), ==, 3);
    g_usleep(1100 * 1000);
    storage_uses_drop_missing(test->uses, running, 0);
    expect_users(test, "guest 'web1' and virtcrypt vol-open");
    reopen(test);
    expect_users(test, "guest 'web1' and virtcrypt vol-open");
}

static void
test_line_that_is_no_use_is_left_out(struct fixture *test, gconstpointer unused)
{
    g_autofree char *file = folder_path(&test->folder, "pool/disk.uses");

    add(test, guest(WEB, "web1", false));
    g_assert_true(
        g_file_set_contents(file, "guest x\nmanual - rw 1 -\nguest nonsense rw 1 a\n", -1, NULL));
    reopen(test);
    expect_users(test, "virtcrypt vol-open");
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/uses/" path, struct fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("named", test_users_are_named);
    ADD("twice", test_adding_twice_is_once);
    ADD("not-there", test_use_that_is_not_there_is_refused);
    ADD("restart", test_restart_keeps_guests_and_people_but_no_streams);
    ADD("last", test_last_removal_leaves_no_file);
    ADD("readonly", test_volume_is_readonly_while_all_only_read);
    ADD("of-guest", test_volumes_of_a_guest_are_listed);
    ADD("gone", test_guest_that_is_gone_is_dropped);
    ADD("damaged", test_line_that_is_no_use_is_left_out);
    return g_test_run();
}
