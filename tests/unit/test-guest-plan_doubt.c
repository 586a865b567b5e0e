/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What must never cost a key: no answer, a clock set back, a failure, a crash.
 */
#include "guest/plan.h"

#include "plan_fixture.h"

/* ---- what is not known ---- */

static void
test_without_an_answer_nothing_is_erased_or_aged(struct plan_fixture *test, gconstpointer unused)
{
    test->volume_is_there = false;
    plan_own(test, 1, GUEST_KEY_SENT);
    test->input.answer = GUEST_ANSWER_UNKNOWN;
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_false(test->plan.is_changed);
    plan_go(test);
    plan_run(test);
    test->input.answer = GUEST_ANSWER_UNKNOWN;
    plan_run_at(test, PLAN_NOW + 100 * PLAN_DELAY);
    plan_expect_nothing(test);
    g_assert_false(test->plan.is_changed);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
}

static void
test_a_guest_with_a_definition_on_disk_is_not_absent(struct plan_fixture *test,
                                                     gconstpointer unused)
{
    test->volume_is_there = false;
    test->input.erase_delay_undefine = 0;
    test->input.has_definition_on_disk = true;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run_at(test, PLAN_NOW + 10 * PLAN_DELAY);
    plan_expect_nothing(test);
    g_assert_false(test->plan.is_changed);
}

static void
test_another_drivers_answer_does_not_count(struct plan_fixture *test, gconstpointer unused)
{
    static const char *const uris[] = {"qemu:///session", NULL};

    test->volume_is_there = false;
    test->input.erase_delay_undefine = 0;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    for (size_t i = 0; i < G_N_ELEMENTS(uris); i++) {
        g_free(test->record->uri);
        test->record->uri = g_strdup(uris[i]);
        plan_run(test);
        plan_expect_nothing(test);
        g_assert_false(test->plan.is_changed);
    }
}

static void
test_nothing_is_taken_away_while_not_all_guests_are_known(struct plan_fixture *test,
                                                          gconstpointer unused)
{
    test->volume_is_there = false;
    test->input.is_held = true;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_own(test, 2, GUEST_KEY_REFUSED);
    plan_go(test);
    plan_run(test);
    test->owners = 1;
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    test->owners = 0;
    test->input.is_held = false;
    plan_run(test);
    g_assert_cmpuint(test->plan.actions->len, ==, 2);
}

static void
test_a_guest_of_which_only_the_custodian_knows_is_held(struct plan_fixture *test,
                                                       gconstpointer unused)
{
    test->volume_is_there = false;
    test->input.erase_delay_undefine = 0;
    test->input.erase_orphans = DAEMON_CONF_ORPHANS_AFTER_DELAY;
    plan_bind(test, 1);
    plan_go(test);
    plan_run(test);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    plan_run_at(test, PLAN_NOW + 10 * PLAN_DELAY);
    plan_expect_nothing(test);
    plan_come(test);
    plan_refer(test, 1, false);
    plan_run(test);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
    g_assert_cmpstr(test->record->uri, ==, PLAN_URI);
}

static void
test_what_was_erased_by_hand_is_forgotten_without_an_answer(struct plan_fixture *test,
                                                            gconstpointer unused)
{
    plan_bind(test, 1);
    plan_go(test);
    plan_run(test);
    g_array_set_size(test->bound, 0);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_null(test->record);
}

/* ---- the clock ---- */

static void
test_a_clock_that_is_set_back_erases_nothing_early(struct plan_fixture *test, gconstpointer unused)
{
    test->volume_is_there = false;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, 1000); /* 1970, until the network is there */
    plan_expect_nothing(test);
    g_assert_cmpint(test->plan.look_again, ==, 1000 + PLAN_DELAY);
    g_assert_cmpint(plan_key(test, 1)->since, ==, PLAN_NOW);
    plan_run_at(test, 1000 + 10 * PLAN_DELAY);
    plan_expect_nothing(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY - 1);
    plan_expect_nothing(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
}

static void
test_a_time_before_1970_is_written_as_one_that_can_be_read(struct plan_fixture *test,
                                                           gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run_at(test, -5);
    g_assert_cmpint(test->record->since, ==, 0);
    g_assert_cmpint(plan_key(test, 1)->since, ==, 0);
}

static void
test_the_last_second_there_is_does_not_overflow(struct plan_fixture *test, gconstpointer unused)
{
    struct guest_key *key = plan_own(test, 1, GUEST_KEY_SENT);

    test->record->state = GUEST_STATE_UNDEFINED;
    key->state = GUEST_KEY_WAITING;
    key->since = G_MAXINT64;
    test->volume_is_there = false;
    plan_go(test);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_cmpint(test->plan.look_again, ==, PLAN_NOW + PLAN_DELAY);
}

/* ---- failures ---- */

static void
test_a_key_that_could_not_be_erased_stays(struct plan_fixture *test, gconstpointer unused)
{
    test->volume_is_there = false;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_run(test);
    test->input.now = PLAN_NOW + PLAN_DELAY;
    plan_make(test);
    guest_plan_undo(&test->input, &test->plan, plan_first_action(test));
    g_assert_nonnull(test->plan.record);
    g_assert_false(test->plan.is_changed);
    g_assert_cmpint(test->plan.look_again, ==, PLAN_NOW + PLAN_DELAY + 60);
    g_assert_cmpuint(test->plan.record->keys->len, ==, 1);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY + 60);
    plan_expect(test, GUEST_ACTION_ERASE, 1, GONE);
}

static void
test_an_erasure_at_once_that_failed_keeps_the_guests_state(struct plan_fixture *test,
                                                           gconstpointer unused)
{
    test->volume_is_there = false;
    test->input.erase_delay_undefine = 0;
    plan_own(test, 1, GUEST_KEY_SENT);
    plan_go(test);
    plan_make(test);
    guest_plan_undo(&test->input, &test->plan, plan_first_action(test));
    g_assert_true(test->plan.is_changed);
    g_assert_cmpint(test->plan.record->state, ==, GUEST_STATE_UNDEFINED);
    g_assert_cmpuint(test->plan.record->keys->len, ==, 1);
}

static void
test_a_key_that_could_not_be_bound_is_not_recorded(struct plan_fixture *test, gconstpointer unused)
{
    plan_refer(test, 1, true);
    plan_make(test);
    guest_plan_undo(&test->input, &test->plan, plan_first_action(test));
    g_assert_null(test->plan.record);
    g_assert_false(test->plan.is_changed);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_BIND, 1, "used by the guest");
}

static void
test_a_crash_between_action_and_record_repeats_the_action(struct plan_fixture *test,
                                                          gconstpointer unused)
{
    plan_refer(test, 1, true);
    plan_make(test);
    plan_bind(test, 1); /* done, and not recorded */
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_cmpint(plan_key(test, 1)->origin, ==, GUEST_KEY_GENERATED);
    plan_go(test);
    plan_run(test);
    test->volume_is_there = false;
    test->input.now = PLAN_NOW + PLAN_DELAY;
    plan_make(test);
    g_array_set_size(test->bound, 0); /* erased, and not recorded */
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_null(test->record);
}

static void
test_texts_for_the_audit_are_bounded(struct plan_fixture *test, gconstpointer unused)
{
    g_autofree char *name = g_strnfill(5000, 'n');

    test->volume_is_there = false;
    test->input.erase_delay_undefine = 0;
    plan_own(test, 1, GUEST_KEY_SENT);
    g_free(test->record->name);
    test->record->name = g_strdup(name);
    plan_go(test);
    plan_run(test);
    g_assert_cmpuint(strlen(plan_first_action(test)->reason), <, 300);
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/plan_doubt/" #name, struct plan_fixture, NULL, plan_set_up, test_##name,    \
               plan_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(without_an_answer_nothing_is_erased_or_aged);
    ADD(a_guest_with_a_definition_on_disk_is_not_absent);
    ADD(another_drivers_answer_does_not_count);
    ADD(nothing_is_taken_away_while_not_all_guests_are_known);
    ADD(a_guest_of_which_only_the_custodian_knows_is_held);
    ADD(what_was_erased_by_hand_is_forgotten_without_an_answer);
    ADD(a_clock_that_is_set_back_erases_nothing_early);
    ADD(a_time_before_1970_is_written_as_one_that_can_be_read);
    ADD(the_last_second_there_is_does_not_overflow);
    ADD(a_key_that_could_not_be_erased_stays);
    ADD(an_erasure_at_once_that_failed_keeps_the_guests_state);
    ADD(a_key_that_could_not_be_bound_is_not_recorded);
    ADD(a_crash_between_action_and_record_repeats_the_action);
    ADD(texts_for_the_audit_are_bounded);
    return g_test_run();
}
