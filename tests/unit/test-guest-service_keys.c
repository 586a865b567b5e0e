/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Keys bound, taken and erased by hand, and the lists that show them.
 */
#include "guest/service.h"

#include "guest/watch.h"
#include "reconcile_fixture.h"

#define SECRET_1 "22222222-2222-4333-8444-000000000001"

static void
expect_part(const GError *error, enum error_code code, const char *part)
{
    g_assert_nonnull(error);
    if (!strstr(error->message, part))
        g_error("'%s' does not hold '%s'", error->message, part);
    g_assert_cmpint(error_get_code(error), ==, code);
}

static void
set_up(struct guests *test, gconstpointer unused)
{
    guests_set_up(test, unused);
    test->service->watch = guest_watch_new(&(struct guest_watch_params){.opaque = test});
}

/* A guest, and a secret of nobody that has a value. */
static void
have_guest_and_secret(struct guests *test)
{
    define_guest(test, 1);
    tell_reference(test, 9, 1); /* a value; that guest is not there */
}

static bool
bind_1(struct guests *test, GError **error)
{
    const struct uuid secret = secret_of(1);
    const struct uuid guest = guest_of(1);

    return guest_service_bind(test->service, &secret, &guest, error);
}

static bool
unbind_1(struct guests *test, GError **error)
{
    const struct uuid secret = secret_of(1);
    const struct uuid guest = guest_of(1);

    return guest_service_unbind(test->service, &secret, &guest, error);
}

static bool
erase_1(struct guests *test, GError **error)
{
    const struct uuid secret = secret_of(1);

    return guest_service_erase(test->service, &secret, error);
}

static enum guest_key_origin
kept_origin(struct guests *test)
{
    const struct uuid guest = guest_of(1);
    const struct uuid secret = secret_of(1);
    g_autoptr(guest_record_t) record = guest_records_get(test->service->records, &guest, NULL);
    const struct guest_key *key = record ? guest_record_find(record, &secret) : NULL;

    return key ? key->origin : GUEST_KEY_ORIGIN_LAST;
}

static void
must(bool is_good, const GError *error)
{
    g_assert_no_error(error);
    g_assert_true(is_good);
}

/* ---- bind and unbind ---- */

static void
test_a_bound_key_is_kept_though_nothing_refers_to_it(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_guest_and_secret(test);
    must(bind_1(test, &error), error);
    must(bind_1(test, &error), error); /* once more is no error */
    g_assert_cmpint(kept_origin(test), ==, GUEST_KEY_MANUAL);
    guests_look(test);
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_BOUND);
    g_assert_true(owns(test, 1, 1));
}

static void
test_only_a_guest_that_is_there_gets_a_key(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    tell_reference(test, 9, 1);
    g_assert_false(bind_1(test, &error));
    expect_part(error, ERROR_NO_DOMAIN, "Domain not found");
    g_assert_cmpint(kept_origin(test), ==, GUEST_KEY_ORIGIN_LAST);
    expect_calls(test, "");
}

static void
test_a_refused_binding_leaves_no_record(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_guest_and_secret(test);
    test->refuses = true;
    g_assert_false(bind_1(test, &error));
    expect_part(error, ERROR_OPERATION_FAILED, "the store is full");
    g_assert_cmpint(kept_origin(test), ==, GUEST_KEY_ORIGIN_LAST);
}

static void
test_a_key_taken_by_hand_is_not_bound_again_by_itself(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    define_guest(test, 1);
    tell_reference(test, 1, 1);
    guests_look(test);
    g_assert_true(owns(test, 1, 1));
    must(unbind_1(test, &error), error);
    g_assert_cmpint(kept_origin(test), ==, GUEST_KEY_REFUSED);
    g_assert_false(owns(test, 1, 1));
    guests_look(test);
    g_assert_false(owns(test, 1, 1));
    must(bind_1(test, &error), error);
    g_assert_true(owns(test, 1, 1));
}

static void
test_what_could_not_be_unbound_is_bound_as_before(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_guest_and_secret(test);
    must(bind_1(test, &error), error);
    test->refuses = true;
    g_assert_false(unbind_1(test, &error));
    expect_part(error, ERROR_OPERATION_FAILED, "the store is full");
    g_assert_cmpint(kept_origin(test), ==, GUEST_KEY_MANUAL);
}

static void
test_what_a_guest_does_not_own_cannot_be_taken(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_guest_and_secret(test);
    g_assert_false(unbind_1(test, &error));
    expect_part(error, ERROR_OPERATION_INVALID, "does not own secret " SECRET_1);
}

/* ---- erase ---- */

static void
have_orphan(struct guests *test)
{
    define_guest(test, 1);
    tell_reference(test, 1, 1);
    guests_look(test);
    test->conf->erase_delay_undefine = 0;
    undefine_guest(test, 1);
    guests_look(test);
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_ORPHANED);
    expect_calls(test, "bind 1\n");
}

static void
test_an_orphaned_key_is_erased_by_hand(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_orphan(test);
    must(erase_1(test, &error), error);
    expect_calls(test, "erase " SECRET_1 " erased by virtcrypt key-erase\n");
    g_assert_cmpuint(folder_count(&test->records), ==, 0);
    g_assert_false(erase_1(test, &error));
    expect_part(error, ERROR_NO_SECRET, "no guest owns secret " SECRET_1);
}

static void
test_a_key_that_a_guest_uses_is_not_erased(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_orphan(test);
    define_guest(test, 2);
    tell_reference(test, 2, 1);
    g_assert_false(erase_1(test, &error));
    expect_part(error, ERROR_OPERATION_INVALID, "guest 'g2' is there and uses secret " SECRET_1);
    expect_calls(test, "");
}

static void
test_a_key_that_a_guest_owns_is_not_erased(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_guest_and_secret(test);
    must(bind_1(test, &error), error);
    g_assert_false(erase_1(test, &error));
    expect_part(error, ERROR_OPERATION_INVALID, "guest 'g1' is there and owns it");
}

static void
test_no_key_is_erased_while_libvirt_cannot_be_asked(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_orphan(test);
    guests_connect(test, "qemu+unix:///system?socket=/nowhere/libvirt-sock");
    g_assert_false(erase_1(test, &error));
    expect_part(error, ERROR_OPERATION_FAILED, "libvirt can't be asked");
    expect_calls(test, "");
}

static void
test_a_key_that_could_not_be_erased_stays_in_the_record(struct guests *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    have_orphan(test);
    test->refuses = true;
    g_assert_false(erase_1(test, &error));
    expect_part(error, ERROR_OPERATION_FAILED, "the store is full");
    g_assert_cmpint(kept_state(test, 1, 1), ==, GUEST_KEY_ORPHANED);
}

static void
test_nothing_is_changed_of_a_guest_on_its_way(struct guests *test, gconstpointer unused)
{
    const struct uuid guest = guest_of(1);
    g_autoptr(guest_record_t) record = NULL;
    g_autoptr(GError) error = NULL;

    have_orphan(test);
    record = guest_records_get(test->service->records, &guest, NULL);
    record->state = GUEST_STATE_ARRIVING;
    record->operation = guest;
    record->peer = g_strdup("qemu+ssh://other/system");
    g_assert_true(guest_records_put(test->service->records, record, NULL));
    g_assert_false(erase_1(test, &error));
    expect_part(error, ERROR_RESOURCE_BUSY, "guest 'g1' is arriving from another host");
    g_clear_error(&error);
    g_assert_false(unbind_1(test, &error));
    expect_part(error, ERROR_RESOURCE_BUSY, "guest 'g1' is arriving from another host");
    expect_calls(test, "");
}

/* ---- lists ---- */

static const struct guest_entry *
find_entry(GPtrArray *entries, unsigned int number)
{
    const struct uuid guest = guest_of(number);

    for (guint i = 0; i < entries->len; i++) {
        const struct guest_entry *entry = entries->pdata[i];

        if (uuid_equal(&entry->uuid, &guest))
            return entry;
    }
    return NULL;
}

static void
expect_state(struct guests *test, unsigned int number, const char *state, unsigned int keys,
             unsigned int missing)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) entries = guest_service_list(test->service, &error);
    const struct guest_entry *entry;

    g_assert_no_error(error);
    entry = find_entry(entries, number);
    g_assert_nonnull(entry);
    g_assert_cmpstr(entry->state, ==, state);
    g_assert_cmpuint(entry->keys, ==, keys);
    g_assert_cmpuint(entry->missing, ==, missing);
}

static void
test_guests_are_listed_with_what_libvirt_says_of_them(struct guests *test, gconstpointer unused)
{
    define_guest(test, 1);
    tell_reference(test, 1, 1);
    guests_look(test);
    expect_state(test, 1, "shut off", 1, 0);
    tell_reference(test, 1, 2);
    g_array_set_size(test->values, 1);
    expect_state(test, 1, "shut off", 1, 1);
    undefine_guest(test, 1);
    expect_state(test, 1, "undefined", 1, 0);
    guests_look(test);
    expect_state(test, 1, "undefined", 1, 0);
    guests_connect(test, "qemu+unix:///system?socket=/nowhere/libvirt-sock");
    expect_state(test, 1, "undefined", 1, 0);
}

static void
test_a_guest_of_which_libvirt_cannot_be_asked_is_listed(struct guests *test, gconstpointer unused)
{
    define_guest(test, 1);
    tell_reference(test, 1, 1);
    guests_look(test);
    guests_connect(test, "qemu+unix:///system?socket=/nowhere/libvirt-sock");
    expect_state(test, 1, "unknown", 1, 0);
}

struct key_wish {
    const struct uuid *guest;
    const char *volume;
    bool is_orphaned;
};

static void
expect_keys(struct guests *test, struct key_wish wish, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) keys =
        guest_service_list_keys(test->service, wish.guest, wish.volume, wish.is_orphaned, &error);
    g_autoptr(GString) text = g_string_new(NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < keys->len; i++) {
        const struct guest_key_entry *key = keys->pdata[i];

        g_string_append_printf(text, "%u %s %s %s\n", key->secret.bytes[15], key->guest_name,
                               key->origin, key->state);
    }
    g_assert_cmpstr(text->str, ==, expected);
}

static void
test_keys_are_listed_by_secret_and_guest(struct guests *test, gconstpointer unused)
{
    const struct uuid second = guest_of(2);
    g_autofree char *volume = volume_of(test, 1);

    define_guest(test, 1);
    define_guest(test, 2);
    tell_reference(test, 2, 1);
    tell_reference(test, 1, 3);
    tell_reference(test, 1, 1);
    guests_look(test);
    expect_keys(test, (struct key_wish){0},
                "1 g1 generated bound\n1 g2 generated bound\n3 g1 generated bound\n");
    expect_keys(test, (struct key_wish){.guest = &second}, "1 g2 generated bound\n");
    expect_keys(test, (struct key_wish){.volume = volume},
                "1 g1 generated bound\n1 g2 generated bound\n");
    expect_keys(test, (struct key_wish){.is_orphaned = true}, "");
}

static void
test_orphaned_and_missing_keys_are_told_apart(struct guests *test, gconstpointer unused)
{
    have_orphan(test);
    define_guest(test, 2);
    tell_reference(test, 2, 2);
    guests_look(test);
    g_array_set_size(test->bindings, 1); /* somebody undefined the secret */
    expect_keys(test, (struct key_wish){0}, "1 g1 generated orphaned\n2 g2 generated missing\n");
    expect_keys(test, (struct key_wish){.is_orphaned = true}, "1 g1 generated orphaned\n");
}

static void
test_the_status_counts_keys_and_says_why_libvirt_is_not_asked(struct guests *test,
                                                              gconstpointer unused)
{
    struct guest_status status;

    have_orphan(test);
    guest_service_status(test->service, &status);
    g_assert_cmpuint(status.guests, ==, 1);
    g_assert_cmpuint(status.keys, ==, 1);
    g_assert_cmpuint(status.orphaned, ==, 1);
    g_assert_cmpuint(status.waiting, ==, 0);
    g_assert_null(status.problem);
    guest_status_clear(&status);
    guests_connect(test, "qemu+unix:///system?socket=/nowhere/libvirt-sock");
    guest_service_status(test->service, &status);
    g_assert_nonnull(status.problem);
    guest_status_clear(&status);
}

#define ADD(function)                                                                              \
    g_test_add("/guest/service_keys/" #function, struct guests, NULL, set_up, test_##function,     \
               guests_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_bound_key_is_kept_though_nothing_refers_to_it);
    ADD(only_a_guest_that_is_there_gets_a_key);
    ADD(a_refused_binding_leaves_no_record);
    ADD(a_key_taken_by_hand_is_not_bound_again_by_itself);
    ADD(what_could_not_be_unbound_is_bound_as_before);
    ADD(what_a_guest_does_not_own_cannot_be_taken);
    ADD(an_orphaned_key_is_erased_by_hand);
    ADD(a_key_that_a_guest_uses_is_not_erased);
    ADD(a_key_that_a_guest_owns_is_not_erased);
    ADD(no_key_is_erased_while_libvirt_cannot_be_asked);
    ADD(a_key_that_could_not_be_erased_stays_in_the_record);
    ADD(nothing_is_changed_of_a_guest_on_its_way);
    ADD(guests_are_listed_with_what_libvirt_says_of_them);
    ADD(a_guest_of_which_libvirt_cannot_be_asked_is_listed);
    ADD(keys_are_listed_by_secret_and_guest);
    ADD(orphaned_and_missing_keys_are_told_apart);
    ADD(the_status_counts_keys_and_says_why_libvirt_is_not_asked);
    return g_test_run();
}
