/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Guests that are undefined: keys wait, are held, erased, unbound, or come back.
 */
#include "guest/plan.h"

#include "plan_fixture.h"

/* ---- undefined ---- */

static void
test_keys_of_an_undefined_guest_wait(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    g_assert_cmpint(plan_key(test, 1)->since, ==, PLAN_NOW);
    g_assert_cmpstr(plan_key(test, 1)->reason, ==, UNDEFINED);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_UNDEFINED);
    g_assert_cmpint(test->record->since, ==, PLAN_NOW);
    g_assert_cmpint(test->plan.look_again, ==, PLAN_NOW + PLAN_DELAY);
    test->volume_is_there = false;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY - 1);
    plan_expect_nothing(test);
    g_assert_false(test->plan.is_changed);
}

static void
test_a_key_whose_volume_is_gone_is_erased_after_the_delay(struct plan_fixture *test,
                                                          gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    test->volume_is_there = false;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
    g_assert_null(test->record);
    g_assert_true(test->plan.is_changed);
}

static void
test_without_a_delay_a_key_goes_at_once(struct plan_fixture *test, gconstpointer unused)
{
    test->input.erase_delay_undefine = 0;
    test->volume_is_there = false;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
    g_assert_null(test->record);
}

static void
test_a_key_that_others_own_is_unbound_after_the_delay(struct plan_fixture *test,
                                                      gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    test->owners = 1;
    test->volume_is_there = false;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect(test, GUEST_ACTION_UNBIND, 1, UNDEFINED);
    g_assert_null(test->record);
}

/* Theirs may be deleted, and the key with it, while this guest's is still there. */
static void
test_a_key_that_others_own_for_another_volume_is_held(struct plan_fixture *test,
                                                      gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    test->owners = 1;
    test->is_volume_elsewhere = false;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    g_assert_cmpstr(plan_key(test, 1)->reason, ==,
                    UNDEFINED "; held until its volume is deleted, as no other guest that owns the "
                              "key has that volume");
    plan_run(test);
    g_assert_false(test->plan.is_changed);
    test->volume_is_there = false;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_UNBIND, 1, UNDEFINED);
}

static void
test_orphans_that_are_not_kept_are_unbound_for_any_volume(struct plan_fixture *test,
                                                          gconstpointer unused)
{
    test->input.erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    test->owners = 1;
    test->is_volume_elsewhere = false;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect(test, GUEST_ACTION_UNBIND, 1, UNDEFINED);
}

static void
test_a_key_that_another_guest_uses_unbound_is_kept_for_it(struct plan_fixture *test,
                                                          gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    test->is_used_elsewhere = true;
    test->volume_is_there = false;
    test->input.erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    test->is_used_elsewhere = false;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
}

static void
test_each_key_goes_its_own_way(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_own(test, 2, GUEST_KEY_MANUAL)->since = 0;
    plan_go(test);
    plan_run(test);
    ((struct guest_key *)test->record->keys->pdata[0])->since -= 10;
    test->volume_is_there = false;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY - 10);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
    plan_expect_state(test, 2, GUEST_KEY_WAITING);
    g_assert_cmpint(test->plan.look_again, ==, PLAN_NOW + PLAN_DELAY);
}

/* ---- orphans ---- */

static void
test_a_key_whose_volume_is_there_is_held_until_that_is_gone(struct plan_fixture *test,
                                                            gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_GENERATED);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    g_assert_cmpint(plan_key(test, 1)->since, ==, PLAN_NOW + PLAN_DELAY);
    g_assert_cmpstr(plan_key(test, 1)->reason, ==,
                    UNDEFINED "; held until its volume is deleted, as no other host is known to "
                              "have the key");
    g_assert_cmpint(test->plan.look_again, ==, 0);
    plan_run_at(test, PLAN_NOW + 100 * PLAN_DELAY);
    plan_expect_nothing(test);
    g_assert_false(test->plan.is_changed);
    test->volume_is_there = false;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
    g_assert_null(test->record);
}

/* The one that another guest has, or that is gone, is not all that it opens. */
static void
test_a_key_of_several_volumes_is_held_until_a_person_erases_it(struct plan_fixture *test,
                                                               gconstpointer unused)
{
    struct guest_key *key = plan_own(test, 1, GUEST_KEY_GENERATED);

    key->place = g_strdup(GUEST_KEY_SEVERAL);
    test->input.answer = GUEST_ANSWER_ABSENT;
    test->volume_is_there = false;
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    g_assert_cmpint(plan_key(test, 1)->state, ==, GUEST_KEY_ORPHANED);
    g_assert_cmpstr(plan_key(test, 1)->reason, ==,
                    UNDEFINED "; held until key-erase, as it opens other volumes, too");
    test->owners = 1;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    g_assert_cmpint(plan_key(test, 1)->state, ==, GUEST_KEY_ORPHANED);
}

static void
test_an_unknown_volume_counts_as_one_that_is_there(struct plan_fixture *test, gconstpointer unused)
{
    struct guest_key *key = plan_own(test, 1, GUEST_KEY_SENT);

    g_clear_pointer(&key->volume, g_free);
    test->volume_is_there = false;
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    g_assert_cmpuint(test->asked_volume, ==, 0);
}

static void
test_orphans_are_erased_after_the_delay_if_so_configured(struct plan_fixture *test,
                                                         gconstpointer unused)
{
    test->input.erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    plan_own(test, 1, GUEST_KEY_GENERATED);
    plan_go(test);
    plan_run(test);
    plan_expect_nothing(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect(test, GUEST_ACTION_ERASE, 1, UNDEFINED);
}

static void
test_orphans_wait_for_a_person_if_so_configured(struct plan_fixture *test, gconstpointer unused)
{
    test->input.erase_orphans = DAEMON_CONF_ORPHANS_MANUAL;
    test->volume_is_there = false;
    plan_own(test, 1, GUEST_KEY_GENERATED);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    g_array_set_size(test->bound, 0); /* key-erase, or vol-delete of a volume of ours */
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_null(test->record);
}

static void
test_an_orphan_that_another_guest_takes_over_is_unbound(struct plan_fixture *test,
                                                        gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_GENERATED);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    test->owners = 1;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_UNBIND, 1, UNDEFINED);
    g_assert_null(test->record);
}

static void
test_a_new_setting_applies_to_present_orphans(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_GENERATED);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    test->input.erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_ERASE, 1, UNDEFINED);
}

/* ---- coming back ---- */

static void
test_redefining_within_the_delay_cancels(struct plan_fixture *test, gconstpointer unused)
{
    plan_refer(test, 1, true);
    plan_own(test, 1, GUEST_KEY_GENERATED);
    plan_go(test);
    plan_run(test);
    plan_come(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY - 1);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
    g_assert_cmpint(plan_key(test, 1)->since, ==, 0);
    g_assert_null(plan_key(test, 1)->reason);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_PRESENT);
    test->volume_is_there = false;
    plan_run_at(test, PLAN_NOW + 10 * PLAN_DELAY);
    plan_expect_nothing(test);
}

static void
test_undefining_again_begins_a_new_delay(struct plan_fixture *test, gconstpointer unused)
{
    test->volume_is_there = false;
    plan_refer(test, 1, true);
    plan_own(test, 1, GUEST_KEY_GENERATED);
    plan_go(test);
    plan_run(test);
    plan_come(test);
    plan_run_at(test, PLAN_NOW + 1000);
    plan_go(test);
    plan_run_at(test, PLAN_NOW + 2000);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY + 1999);
    plan_expect_nothing(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY + 2000);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
}

static void
test_an_orphans_guest_that_is_defined_again_has_its_key(struct plan_fixture *test,
                                                        gconstpointer unused)
{
    plan_refer(test, 1, false);
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    plan_come(test);
    plan_run(test);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_SENT);
}

static void
test_redefining_without_the_disk_begins_a_new_delay(struct plan_fixture *test, gconstpointer unused)
{
    test->volume_is_there = false;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    plan_come(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY - 1);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    g_assert_cmpint(plan_key(test, 1)->since, ==, PLAN_NOW + PLAN_DELAY - 1);
    plan_run_at(test, PLAN_NOW + 2 * PLAN_DELAY - 1);
    plan_expect(test, GUEST_ACTION_ERASE, 1,
                "guest 'web1' does not refer to it any more, its volume is gone");
}

static void
test_a_key_bound_by_hand_comes_back_with_its_guest(struct plan_fixture *test, gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_MANUAL);
    plan_go(test);
    plan_run(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    plan_come(test);
    plan_run(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
    plan_go(test);
    plan_run(test);
    test->volume_is_there = false;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
}

static void
test_a_refusal_is_remembered_while_the_guest_may_come_back(struct plan_fixture *test,
                                                           gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_REFUSED);
    g_array_set_size(test->bound, 0);
    plan_refer(test, 1, true);
    plan_go(test);
    plan_run(test);
    g_assert_cmpint(test->plan.look_again, ==, PLAN_NOW + PLAN_DELAY);
    plan_come(test);
    plan_run(test);
    plan_expect_nothing(test);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    g_assert_null(test->record);
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/plan_absence/" #name, struct plan_fixture, NULL, plan_set_up, test_##name,  \
               plan_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(keys_of_an_undefined_guest_wait);
    ADD(a_key_whose_volume_is_gone_is_erased_after_the_delay);
    ADD(without_a_delay_a_key_goes_at_once);
    ADD(a_key_that_others_own_is_unbound_after_the_delay);
    ADD(a_key_that_others_own_for_another_volume_is_held);
    ADD(orphans_that_are_not_kept_are_unbound_for_any_volume);
    ADD(a_key_that_another_guest_uses_unbound_is_kept_for_it);
    ADD(each_key_goes_its_own_way);
    ADD(a_key_whose_volume_is_there_is_held_until_that_is_gone);
    ADD(a_key_of_several_volumes_is_held_until_a_person_erases_it);
    ADD(an_unknown_volume_counts_as_one_that_is_there);
    ADD(orphans_are_erased_after_the_delay_if_so_configured);
    ADD(orphans_wait_for_a_person_if_so_configured);
    ADD(an_orphan_that_another_guest_takes_over_is_unbound);
    ADD(a_new_setting_applies_to_present_orphans);
    ADD(redefining_within_the_delay_cancels);
    ADD(undefining_again_begins_a_new_delay);
    ADD(an_orphans_guest_that_is_defined_again_has_its_key);
    ADD(redefining_without_the_disk_begins_a_new_delay);
    ADD(a_key_bound_by_hand_comes_back_with_its_guest);
    ADD(a_refusal_is_remembered_while_the_guest_may_come_back);
    return g_test_run();
}
