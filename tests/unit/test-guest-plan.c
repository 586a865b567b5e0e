/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a guest that is there owns: bound by rules, by hand, and what it drops.
 */
#include "guest/plan.h"

#include "plan_fixture.h"

/* ---- binding ---- */

static void
test_the_key_made_for_a_volume_is_bound_once_a_guest_refers_to_it(struct plan_fixture *test,
                                                                  gconstpointer unused)
{
    plan_refer(test, 1, true);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_BIND, 1, "used by the guest");
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_GENERATED);
    g_assert_cmpstr(plan_key(test, 1)->volume, ==, PLAN_VOLUME);
    g_assert_cmpstr(test->record->uri, ==, PLAN_URI);
    g_assert_cmpint(test->record->since, ==, PLAN_NOW);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_false(test->plan.is_changed);
    g_assert_cmpint(test->plan.look_again, ==, 0);
}

static void
test_a_secret_of_the_administrators_is_left_alone(struct plan_fixture *test, gconstpointer unused)
{
    plan_refer(test, 1, false);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_null(test->record);
    g_assert_false(test->plan.is_changed);
}

static void
test_all_that_a_defined_guest_refers_to_is_bound_if_so_configured(struct plan_fixture *test,
                                                                  gconstpointer unused)
{
    test->input.bind_referenced = true;
    plan_refer(test, 1, false);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_BIND, 1, "used by the guest");
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_REFERENCED);
}

static void
test_what_a_transient_guest_only_refers_to_is_not_bound(struct plan_fixture *test,
                                                        gconstpointer unused)
{
    test->input.bind_referenced = true;
    test->input.is_persistent = false;
    test->input.is_active = true;
    plan_refer(test, 1, false);
    plan_refer(test, 2, true);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_BIND, 2, "used by the guest");
    test->input.is_persistent = true;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_BIND, 1, "used by the guest");
}

static void
test_a_secret_that_another_guest_owns_is_shared(struct plan_fixture *test, gconstpointer unused)
{
    test->owners = 1;
    plan_refer(test, 1, false);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_BIND, 1, "used by the guest");
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_REFERENCED);
}

static void
test_a_secret_without_a_value_is_bound_when_it_gets_one(struct plan_fixture *test,
                                                        gconstpointer unused)
{
    struct guest_reference *reference = plan_refer(test, 1, true);

    reference->has_value = false;
    plan_run(test);
    plan_expect_nothing(test);
    reference->has_value = true;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_BIND, 1, "used by the guest");
}

static void
test_what_key_unbind_took_away_is_not_bound_again(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_REFUSED);
    g_array_set_size(test->bound, 0);
    plan_refer(test, 1, true);
    test->owners = 1;
    test->input.bind_referenced = true;
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_REFUSED);
}

static void
test_an_unbinding_that_a_crash_interrupted_is_finished(struct plan_fixture *test,
                                                       gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_REFUSED);
    plan_refer(test, 1, true);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_UNBIND, 1, "taken from the guest by key-unbind");
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_REFUSED);
    plan_run(test);
    plan_expect_nothing(test);
}

static void
test_a_binding_that_no_record_knows_is_taken_over(struct plan_fixture *test, gconstpointer unused)
{
    plan_bind(test, 1);
    plan_bind(test, 2);
    plan_refer(test, 1, true);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_GENERATED);
    g_assert_cmpint(plan_key(test, 2)->origin, ==, GUEST_KEY_MANUAL);
}

static void
test_a_binding_that_was_lost_is_made_again(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_refer(test, 1, false);
    g_array_set_size(test->bound, 0);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_BIND, 1, "used by the guest");
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_SENT);
}

static void
test_a_secret_that_was_undefined_is_forgotten_when_it_is_not_used(struct plan_fixture *test,
                                                                  gconstpointer unused)
{
    struct guest_reference *reference = plan_refer(test, 1, true);

    plan_own(test, 1, GUEST_KEY_GENERATED);
    g_array_set_size(test->bound, 0);
    reference->has_value = false;
    plan_run(test);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND); /* it is listed as missing */
    g_ptr_array_set_size(test->references, 0);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_null(test->record);
    g_assert_true(test->plan.is_changed);
}

static void
test_the_volume_of_a_key_follows_the_guest(struct plan_fixture *test, gconstpointer unused)
{
    struct guest_reference *reference = plan_refer(test, 1, true);

    plan_own(test, 1, GUEST_KEY_GENERATED);
    g_free(reference->volume);
    reference->volume = g_strdup("/images/moved.qcow2");
    plan_run(test);
    g_assert_cmpstr(plan_key(test, 1)->volume, ==, "/images/moved.qcow2");
    g_clear_pointer(&reference->volume, g_free);
    plan_run(test);
    g_assert_cmpstr(plan_key(test, 1)->volume, ==, "/images/moved.qcow2");
    g_assert_false(test->plan.is_changed);
}

static void
test_where_a_volume_is_seen_is_kept(struct plan_fixture *test, gconstpointer unused)
{
    struct guest_reference *reference = plan_refer(test, 1, true);

    plan_own(test, 1, GUEST_KEY_GENERATED);
    plan_run(test);
    g_assert_null(plan_key(test, 1)->place);
    test->place = "ef53:1";
    plan_run(test);
    g_assert_true(test->plan.is_changed);
    g_assert_cmpstr(plan_key(test, 1)->place, ==, "ef53:1");
    test->volume_is_there = false; /* not mounted: where it was seen is not forgotten */
    plan_run(test);
    g_assert_false(test->plan.is_changed);
    g_ptr_array_set_size(test->references, 0);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    g_assert_cmpstr(test->asked_place, ==, "ef53:1");
    reference = plan_refer(test, 2, true);
    plan_own(test, 2, GUEST_KEY_GENERATED)->place = g_strdup("ef53:1");
    g_free(reference->volume);
    reference->volume = g_strdup("/images/moved.qcow2");
    plan_run(test);
    g_assert_null(plan_key(test, 2)->place); /* of another volume */
}

/* ---- a reference is dropped ---- */

/* That one of them is gone says nothing of the others. */
static void
test_a_key_of_several_volumes_has_no_place(struct plan_fixture *test, gconstpointer unused)
{
    struct guest_reference *reference = plan_refer(test, 1, true);

    plan_own(test, 1, GUEST_KEY_GENERATED)->place = g_strdup("ef53:1");
    test->place = "ef53:1";
    reference->has_more_volumes = true;
    plan_run(test);
    g_assert_cmpstr(plan_key(test, 1)->volume, ==, PLAN_VOLUME);
    g_assert_cmpstr(plan_key(test, 1)->place, ==, "several");
    plan_run(test);
    g_assert_false(test->plan.is_changed);
    reference->has_more_volumes = false; /* the others may be there still */
    plan_run(test);
    g_assert_cmpstr(plan_key(test, 1)->place, ==, "several");
}

static void
test_a_key_that_leaves_a_volume_behind_is_of_several(struct plan_fixture *test,
                                                     gconstpointer unused)
{
    struct guest_reference *reference = plan_refer(test, 1, true);

    plan_own(test, 1, GUEST_KEY_GENERATED)->place = g_strdup("ef53:1");
    test->place = "ef53:1";
    test->leaves_volume = true;
    plan_run(test);
    g_assert_cmpstr(plan_key(test, 1)->place, ==, "ef53:1"); /* the same one */
    g_free(reference->volume);
    reference->volume = g_strdup("/images/moved.qcow2");
    plan_run(test);
    g_assert_cmpstr(plan_key(test, 1)->volume, ==, "/images/moved.qcow2");
    g_assert_cmpstr(plan_key(test, 1)->place, ==, "several");
}

static void
test_the_key_of_a_dropped_disk_waits_alone(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_own(test, 2, GUEST_KEY_GENERATED);
    plan_refer(test, 2, true);
    plan_run(test);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    plan_expect_state(test, 2, GUEST_KEY_BOUND);
    g_assert_cmpstr(plan_key(test, 1)->reason, ==, "guest 'web1' does not refer to it any more");
    g_assert_cmpint(test->plan.look_again, ==, PLAN_NOW + PLAN_DELAY);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_PRESENT);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    test->volume_is_there = false;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_ERASE, 1,
                "guest 'web1' does not refer to it any more, its volume is gone");
    g_assert_cmpuint(test->record->keys->len, ==, 1);
}

static void
test_a_dropped_disk_that_returns_has_its_key(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_run(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    plan_refer(test, 1, false);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
}

static void
test_a_dropped_key_that_others_own_is_unbound(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_REFERENCED);
    plan_run(test);
    test->owners = 2;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect(test, GUEST_ACTION_UNBIND, 1, "guest 'web1' does not refer to it any more");
}

static void
test_a_key_bound_by_hand_needs_no_reference(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_MANUAL);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + 100 * PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
    g_assert_false(test->plan.is_changed);
}

static void
test_a_disk_that_can_not_be_read_drops_nothing(struct plan_fixture *test, gconstpointer unused)
{
    test->volume_is_there = false;
    test->input.is_partial = true;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_run(test);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
    test->input.is_partial = false;
    plan_run(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    test->input.is_partial = true;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
}

/* ---- a guest that runs ---- */

static void
test_a_running_guest_keeps_keys_that_it_does_not_refer_to(struct plan_fixture *test,
                                                          gconstpointer unused)
{
    test->volume_is_there = false;
    test->input.is_active = true;
    test->input.erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + 10 * PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
    test->input.is_active = false;
    plan_run(test);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    g_assert_cmpint(plan_key(test, 1)->since, ==, PLAN_NOW + 10 * PLAN_DELAY);
}

static void
test_a_guest_that_is_started_keeps_what_was_waiting(struct plan_fixture *test, gconstpointer unused)
{
    test->volume_is_there = false;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_run(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    test->input.is_active = true;
    plan_run_at(test, PLAN_NOW + 10 * PLAN_DELAY);
    plan_expect_nothing(test);
    g_assert_cmpint(test->plan.look_again, ==, 0);
    test->input.is_active = false;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_ERASE, 1,
                "guest 'web1' does not refer to it any more, its volume is gone");
}

static void
test_a_transient_guest_that_is_made_persistent_keeps_its_keys(struct plan_fixture *test,
                                                              gconstpointer unused)
{
    test->input.is_active = true;
    test->input.is_persistent = false;
    plan_refer(test, 1, true);
    plan_run(test);
    test->input.is_persistent = true;
    plan_run(test);
    test->input.is_active = false;
    plan_run_at(test, PLAN_NOW + 10 * PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
}

static void
test_a_transient_guest_that_ends_is_like_one_undefined(struct plan_fixture *test,
                                                       gconstpointer unused)
{
    test->input.is_active = true;
    test->input.is_persistent = false;
    plan_refer(test, 1, true);
    plan_run(test);
    plan_go(test);
    plan_run(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    plan_come(test);
    plan_run_at(test, PLAN_NOW + 60);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
}

/* ---- renamed ---- */

static void
test_a_renamed_guest_keeps_its_keys_under_its_new_name(struct plan_fixture *test,
                                                       gconstpointer unused)
{
    plan_refer(test, 1, true);
    plan_own(test, 1, GUEST_KEY_GENERATED);
    test->input.name = "web2";
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_true(test->plan.is_changed);
    g_assert_cmpstr(test->record->name, ==, "web2");
    plan_go(test);
    plan_run(test);
    g_assert_cmpstr(plan_key(test, 1)->reason, ==, "guest 'web2' was undefined");
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/plan/" #name, struct plan_fixture, NULL, plan_set_up, test_##name,          \
               plan_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_key_made_for_a_volume_is_bound_once_a_guest_refers_to_it);
    ADD(a_secret_of_the_administrators_is_left_alone);
    ADD(all_that_a_defined_guest_refers_to_is_bound_if_so_configured);
    ADD(what_a_transient_guest_only_refers_to_is_not_bound);
    ADD(a_secret_that_another_guest_owns_is_shared);
    ADD(a_secret_without_a_value_is_bound_when_it_gets_one);
    ADD(what_key_unbind_took_away_is_not_bound_again);
    ADD(an_unbinding_that_a_crash_interrupted_is_finished);
    ADD(a_binding_that_no_record_knows_is_taken_over);
    ADD(a_binding_that_was_lost_is_made_again);
    ADD(a_secret_that_was_undefined_is_forgotten_when_it_is_not_used);
    ADD(the_volume_of_a_key_follows_the_guest);
    ADD(where_a_volume_is_seen_is_kept);
    ADD(a_key_of_several_volumes_has_no_place);
    ADD(a_key_that_leaves_a_volume_behind_is_of_several);
    ADD(the_key_of_a_dropped_disk_waits_alone);
    ADD(a_dropped_disk_that_returns_has_its_key);
    ADD(a_dropped_key_that_others_own_is_unbound);
    ADD(a_key_bound_by_hand_needs_no_reference);
    ADD(a_disk_that_can_not_be_read_drops_nothing);
    ADD(a_running_guest_keeps_keys_that_it_does_not_refer_to);
    ADD(a_guest_that_is_started_keeps_what_was_waiting);
    ADD(a_transient_guest_that_is_made_persistent_keeps_its_keys);
    ADD(a_transient_guest_that_ends_is_like_one_undefined);
    ADD(a_renamed_guest_keeps_its_keys_under_its_new_name);
    return g_test_run();
}
