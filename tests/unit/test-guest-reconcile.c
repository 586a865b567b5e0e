/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Looks at guests: what is given, what is taken, in which order, and what doubt holds back.
 */
#include "reconcile_fixture.h"

#define SECRET_1 "22222222-2222-4333-8444-000000000001"
#define GUEST_1  "11111111-2222-4333-8444-000000000001"

/* One guest that owns the key of its volume. */
static void
have_owner(struct guests *test)
{
    define_guest(test, 1);
    tell_reference(test, 1, 1);
    guests_look(test);
    expect_calls(test, "bind 1\n");
    g_assert_true(owns(test, 1, 1));
}

/* ---- given ---- */

static void
test_keys_of_all_guests_are_bound_in_one_call(struct guests *test, gconstpointer unused)
{
    for (unsigned int i = 1; i <= 3; i++) {
        define_guest(test, i);
        tell_reference(test, i, i);
        tell_reference(test, i, i + 5);
    }
    guests_look(test);
    expect_calls(test, "bind 6\n");
    for (unsigned int i = 1; i <= 3; i++) {
        g_assert_true(owns(test, i, i) && owns(test, i, i + 5));
        g_assert_cmpint(kept_state(test, i, i), ==, GUEST_KEY_BOUND);
    }
}

static void
test_a_look_that_finds_nothing_new_changes_nothing(struct guests *test, gconstpointer unused)
{
    struct stat before;
    struct stat after;

    have_owner(test);
    g_assert_cmpint(fstatat(test->records.fd, GUEST_1 ".xml", &before, 0), ==, 0);
    g_assert_cmpint(guests_look(test), ==, 0);
    g_assert_cmpint(fstatat(test->records.fd, GUEST_1 ".xml", &after, 0), ==, 0);
    g_assert_cmpuint(before.st_ino, ==, after.st_ino);
    expect_calls(test, "");
}

static void
test_what_could_not_be_bound_is_not_recorded_and_tried_again(struct guests *test,
                                                             gconstpointer unused)
{
    define_guest(test, 1);
    tell_reference(test, 1, 1);
    test->refuses = true;
    g_assert_cmpint(guests_look(test), >, 0);
    g_assert_cmpint(kept_state(test, 1, 1), ==, -1);
    expect_calls(test, "bind 1\n");
    test->refuses = false;
    g_assert_cmpint(guests_look(test), ==, 0);
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_BOUND);
}

static void
test_a_key_without_value_is_bound_when_it_has_one(struct guests *test, gconstpointer unused)
{
    struct uuid secret;

    define_guest(test, 1);
    tell_reference(test, 1, 1);
    secret = g_array_index(test->values, struct uuid, 0);
    g_array_set_size(test->values, 0);
    guests_look(test);
    expect_calls(test, "");
    g_array_append_val(test->values, secret);
    guests_look(test);
    expect_calls(test, "bind 1\n");
}

/* ---- taken ---- */

static void
test_keys_of_an_undefined_guest_wait(struct guests *test, gconstpointer unused)
{
    int64_t now = g_get_real_time() / G_TIME_SPAN_SECOND;
    int64_t look_again;

    have_owner(test);
    undefine_guest(test, 1);
    look_again = guests_look(test);
    g_assert_cmpint(look_again, >=, now + 3600);
    g_assert_cmpint(look_again, <, now + 3700);
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_WAITING);
    g_assert_true(owns(test, 1, 1));
    define_guest(test, 1);
    guests_look(test);
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_BOUND);
    expect_calls(test, "");
}

static void
test_a_key_whose_guest_and_volume_are_gone_is_erased(struct guests *test, gconstpointer unused)
{
    have_owner(test);
    test->conf->erase_delay_undefine = 0;
    undefine_guest(test, 1);
    guests_look(test);
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_ORPHANED);
    expect_calls(test, "");
    remove_volume(test, 1);
    guests_look(test);
    expect_calls(test, "erase " SECRET_1 " guest 'g1' was undefined, its volume is gone\n");
    folder_expect_none(&test->records, GUEST_1 ".xml");
}

static void
test_the_last_of_several_undefined_owners_takes_the_key_along(struct guests *test,
                                                              gconstpointer unused)
{
    have_owner(test);
    define_guest(test, 2);
    tell_reference(test, 2, 1);
    guests_look(test);
    expect_calls(test, "bind 1\n");
    test->conf->erase_delay_undefine = 0;
    undefine_guest(test, 1);
    undefine_guest(test, 2);
    remove_volume(test, 1);
    guests_look(test);
    expect_calls(test, "unbind " SECRET_1 " guest 'g1' was undefined\n"
                       "erase " SECRET_1 " guest 'g2' was undefined, its volume is gone\n");
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
}

static void
test_a_volume_that_went_to_another_guest_takes_its_key_there(struct guests *test,
                                                             gconstpointer unused)
{
    have_owner(test);
    test->conf->erase_delay_undefine = 0;
    test->conf->erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    undefine_guest(test, 1);
    define_guest(test, 2);
    tell_reference(test, 2, 1);
    guests_look(test);
    expect_calls(test, "bind 1\nunbind " SECRET_1 " guest 'g1' was undefined\n");
    g_assert_true(owns(test, 2, 1));
    g_assert_false(owns(test, 1, 1));
}

static void
test_a_key_of_two_guests_goes_with_the_last_volume(struct guests *test, gconstpointer unused)
{
    struct told_reference *told;

    have_owner(test);
    define_guest(test, 2);
    tell_reference(test, 2, 1);
    told = &g_array_index(test->told, struct told_reference, 1);
    g_free(told->reference.volume);
    told->reference.volume = volume_of(test, 2);
    folder_put_text(&test->volumes.images, "2.qcow2", "x");
    guests_look(test);
    expect_calls(test, "bind 1\n");
    test->conf->erase_delay_undefine = 0;
    undefine_guest(test, 1);
    guests_look(test);
    expect_calls(test, "");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_ORPHANED);
    undefine_guest(test, 2);
    remove_volume(test, 2);
    guests_look(test);
    expect_calls(test, "unbind " SECRET_1 " guest 'g2' was undefined\n");
    remove_volume(test, 1);
    guests_look(test);
    expect_calls(test, "erase " SECRET_1 " guest 'g1' was undefined, its volume is gone\n");
}

static void
test_what_could_not_be_erased_stays_in_the_record(struct guests *test, gconstpointer unused)
{
    have_owner(test);
    test->conf->erase_delay_undefine = 0;
    test->conf->erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    undefine_guest(test, 1);
    test->refuses = true;
    g_assert_cmpint(guests_look(test), >, 0);
    expect_calls(test, "erase " SECRET_1 " guest 'g1' was undefined\n");
    g_assert_cmpint(kept_state(test, 1, 1), !=, -1);
    test->refuses = false;
    guests_look(test);
    expect_calls(test, "erase " SECRET_1 " guest 'g1' was undefined\n");
    g_assert_cmpint(kept_state(test, 1, 1), ==, -1);
}

/* ---- doubt; everything would be erased at once otherwise ---- */

static void
have_due_key(struct guests *test)
{
    have_owner(test);
    test->conf->erase_delay_undefine = 0;
    test->conf->erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    undefine_guest(test, 1);
}

static void
expect_erased(struct guests *test)
{
    guests_look(test);
    expect_calls(test, "erase " SECRET_1 " guest 'g1' was undefined\n");
}

static void
expect_failed_look(struct guests *test, const char *text)
{
    g_autoptr(GError) error = NULL;
    int64_t look_again = 0;

    g_assert_false(guest_reconcile(test->service, NULL, &look_again, &error));
    if (!strstr(error->message, text))
        g_error("'%s' does not hold '%s'", error->message, text);
    expect_calls(test, "");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_BOUND);
}

static void
test_nothing_is_taken_while_libvirt_is_away(struct guests *test, gconstpointer unused)
{
    have_due_key(test);
    guests_connect(test, "qemu+unix:///system?socket=/nowhere/libvirt-sock");
    expect_failed_look(test, "libvirt can't be asked");
    guests_connect(test, DRIVER);
    expect_erased(test);
}

static void
test_nothing_is_taken_while_the_custodian_is_away(struct guests *test, gconstpointer unused)
{
    have_due_key(test);
    test->is_away = true;
    expect_failed_look(test, "the custodian is away");
    test->is_away = false;
    expect_erased(test);
}

static void
test_nothing_is_taken_while_libvirts_file_of_the_guest_is_there(struct guests *test,
                                                                gconstpointer unused)
{
    have_due_key(test);
    folder_put_text(&test->domains, "other.xml",
                    "<domain><name>g1</name>\n<uuid>" GUEST_1 "</uuid></domain>");
    guests_look(test);
    expect_calls(test, "");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_BOUND);
    g_assert_cmpint(unlinkat(test->domains.fd, "other.xml", 0), ==, 0);
    expect_erased(test);
}

static void
test_nothing_is_taken_while_it_is_unclear_what_another_guest_uses(struct guests *test,
                                                                  gconstpointer unused)
{
    have_due_key(test);
    define_guest(test, 2);
    tell_reference(test, 2, 2);
    test->is_unclear = true;
    guests_look(test);
    expect_calls(test, "");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_WAITING);
    test->is_unclear = false;
    guests_look(test);
    expect_calls(test, "bind 1\nerase " SECRET_1 " guest 'g1' was undefined\n");
}

static void
test_nothing_is_taken_from_a_guest_that_another_operation_has(struct guests *test,
                                                              gconstpointer unused)
{
    const struct uuid guest = guest_of(1);
    int64_t now = g_get_real_time() / G_TIME_SPAN_SECOND;

    have_due_key(test);
    g_assert_true(guest_service_lock(test->service, &guest, NULL));
    g_assert_cmpint(guests_look(test), >, now);
    expect_calls(test, "");
    guest_service_unlock(test->service, &guest);
    expect_erased(test);
}

static void
test_nothing_is_taken_for_an_event_alone(struct guests *test, gconstpointer unused)
{
    int64_t now = g_get_real_time() / G_TIME_SPAN_SECOND;
    int64_t look_again;

    have_due_key(test);
    look_again = guests_look_at(test, 1);
    g_assert_cmpint(look_again, >=, now);
    g_assert_cmpint(look_again, <, now + 10);
    expect_calls(test, "");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_WAITING);
    expect_erased(test);
}

static void
test_an_event_binds_at_once(struct guests *test, gconstpointer unused)
{
    define_guest(test, 1);
    tell_reference(test, 1, 1);
    guests_look_at(test, 1);
    expect_calls(test, "bind 1\n");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_BOUND);
}

static void
test_keys_of_nobodys_record_are_held(struct guests *test, gconstpointer unused)
{
    const struct uuid guest = guest_of(1);

    have_due_key(test);
    g_assert_true(guest_records_remove(test->service->records, &guest, NULL));
    guests_look(test);
    expect_calls(test, "");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_ORPHANED);
}

static void
put_state(struct guests *test, enum guest_state state)
{
    const struct uuid guest = guest_of(1);
    g_autoptr(guest_record_t) record = guest_records_get(test->service->records, &guest, NULL);

    record->state = state;
    record->operation = guest;
    record->peer = g_strdup("qemu+ssh://other/system");
    g_assert_true(guest_records_put(test->service->records, record, NULL));
}

static void
test_what_a_kill_left_is_recovered_with_a_fresh_answer(struct guests *test, gconstpointer unused)
{
    have_owner(test);
    put_state(test, GUEST_STATE_DEFINING);
    guests_look(test);
    expect_calls(test, "recover present\n");
    g_assert_cmpint(guests_look(test), ==, 0);
    expect_calls(test, "");
}

static void
test_a_migration_under_way_is_left_alone_and_looked_at_later(struct guests *test,
                                                             gconstpointer unused)
{
    int64_t now = g_get_real_time() / G_TIME_SPAN_SECOND;

    have_due_key(test);
    put_state(test, GUEST_STATE_ARRIVING);
    g_assert_cmpint(guests_look(test), >=, now + 100);
    expect_calls(test, "recover absent\n");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_BOUND);
}

/* As guest-migrate leaves it at the source when both sides have confirmed. */
static void
end_migration(struct guests *test)
{
    const struct uuid guest = guest_of(1);
    g_autoptr(GError) error = NULL;
    g_autoptr(guest_record_t) record = guest_records_get(test->service->records, &guest, &error);

    undefine_guest(test, 1);
    record->state = GUEST_STATE_MIGRATED;
    record->peer = g_strdup("qemu+ssh://there/system");
    ((struct guest_key *)record->keys->pdata[0])->has_remote_copy = true;
    guest_records_put(test->service->records, record, &error);
    g_assert_no_error(error);
}

static void
test_a_migration_that_ends_during_a_look_is_not_taken_back(struct guests *test,
                                                           gconstpointer unused)
{
    have_owner(test);
    test->meanwhile = end_migration;
    guests_look(test);
    expect_calls(test, "erase " SECRET_1 " guest 'g1' migrated to qemu+ssh://there/system\n");
    g_assert_cmpint(kept_state(test, 1, 1), ==, -1);
}

/* With libvirt's event of it. */
static void
define_user_of_secret(struct guests *test)
{
    const struct uuid uuid = guest_of(2);

    tell_reference(test, 2, 1);
    define_guest(test, 2);
    guest_service_note_changed(test->service, &uuid);
}

static void
test_a_guest_that_is_defined_during_a_look_has_its_key(struct guests *test, gconstpointer unused)
{
    have_due_key(test);
    define_guest(test, 3);
    test->meanwhile = define_user_of_secret;
    guests_look(test);
    expect_calls(test, "");
    g_assert_true(owns(test, 1, 1));
    guests_look(test);
    g_assert_true(owns(test, 2, 1));
}

static void
test_a_guest_whose_record_cannot_be_read_is_left_alone(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_due_key(test);
    define_guest(test, 2);
    tell_reference(test, 2, 2);
    guests_look(test);
    expect_calls(test, "bind 1\nerase " SECRET_1 " guest 'g1' was undefined\n");
    folder_put_text(&test->records, "11111111-2222-4333-8444-000000000002.xml", "<guest");
    guest_records_free(test->service->records);
    test->service->records = guest_records_new(test->records.path, &error);
    g_assert_no_error(error);
    undefine_guest(test, 2);
    guests_look(test);
    expect_calls(test, "");
    g_assert_true(owns(test, 2, 2));
}

#define ADD(function)                                                                              \
    g_test_add("/guest/reconcile/" #function, struct guests, NULL, guests_set_up, test_##function, \
               guests_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(keys_of_all_guests_are_bound_in_one_call);
    ADD(a_look_that_finds_nothing_new_changes_nothing);
    ADD(what_could_not_be_bound_is_not_recorded_and_tried_again);
    ADD(a_key_without_value_is_bound_when_it_has_one);
    ADD(keys_of_an_undefined_guest_wait);
    ADD(a_key_whose_guest_and_volume_are_gone_is_erased);
    ADD(the_last_of_several_undefined_owners_takes_the_key_along);
    ADD(a_volume_that_went_to_another_guest_takes_its_key_there);
    ADD(a_key_of_two_guests_goes_with_the_last_volume);
    ADD(what_could_not_be_erased_stays_in_the_record);
    ADD(nothing_is_taken_while_libvirt_is_away);
    ADD(nothing_is_taken_while_the_custodian_is_away);
    ADD(nothing_is_taken_while_libvirts_file_of_the_guest_is_there);
    ADD(nothing_is_taken_while_it_is_unclear_what_another_guest_uses);
    ADD(nothing_is_taken_from_a_guest_that_another_operation_has);
    ADD(nothing_is_taken_for_an_event_alone);
    ADD(an_event_binds_at_once);
    ADD(keys_of_nobodys_record_are_held);
    ADD(what_a_kill_left_is_recovered_with_a_fresh_answer);
    ADD(a_migration_under_way_is_left_alone_and_looked_at_later);
    ADD(a_migration_that_ends_during_a_look_is_not_taken_back);
    ADD(a_guest_that_is_defined_during_a_look_has_its_key);
    ADD(a_guest_whose_record_cannot_be_read_is_left_alone);
    return g_test_run();
}
