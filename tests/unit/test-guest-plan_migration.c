/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Guests that move to another host, or come from one.
 */
#include "guest/plan.h"

#include "plan_fixture.h"

/* The state in which a confirmed migration leaves the record. */
static struct guest_key *
leave(struct plan_fixture *test, bool is_confirmed)
{
    struct guest_key *key = plan_own(test, 1, GUEST_KEY_SENT);

    test->record->state = GUEST_STATE_LEAVING;
    test->record->peer = g_strdup(PLAN_PEER);
    g_assert_true(uuid_parse(PLAN_GUEST, &test->record->operation));
    if (is_confirmed) {
        test->record->state = GUEST_STATE_MIGRATED;
        test->record->since = PLAN_NOW;
        key->has_remote_copy = true;
    }
    return key;
}

static void
test_a_confirmed_migration_erases_after_its_own_delay(struct plan_fixture *test,
                                                      gconstpointer unused)
{
    leave(test, true);
    plan_go(test);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_cmpint(test->plan.look_again, ==, PLAN_NOW + PLAN_DELAY_MIGRATED);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY_MIGRATED); /* though the volume, shared, is there */
    plan_expect(test, GUEST_ACTION_ERASE, 1, "guest 'web1' migrated to " PLAN_PEER);
    g_assert_null(test->record);
}

static void
test_a_confirmed_migration_unbinds_what_others_own_here(struct plan_fixture *test,
                                                        gconstpointer unused)
{
    test->input.erase_delay_migrated = 0;
    test->owners = 1;
    leave(test, true);
    plan_go(test);
    plan_run(test);
    plan_expect(test, GUEST_ACTION_UNBIND, 1, "guest 'web1' migrated to " PLAN_PEER);
}

static void
test_a_migration_that_nobody_confirmed_leaves_orphans(struct plan_fixture *test,
                                                      gconstpointer unused)
{
    test->input.erase_delay_migrated = 0;
    leave(test, false);
    plan_go(test);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_MIGRATED);
    plan_expect_state(test, 1, GUEST_KEY_WAITING);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
}

static void
test_a_confirmation_that_comes_late_frees_an_orphan(struct plan_fixture *test, gconstpointer unused)
{
    leave(test, false);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
    ((struct guest_key *)test->record->keys->pdata[0])->has_remote_copy = true;
    plan_run(test);
    plan_expect(test, GUEST_ACTION_ERASE, 1, "guest 'web1' migrated to " PLAN_PEER);
}

static void
test_a_migration_without_us_is_known_by_libvirts_event(struct plan_fixture *test,
                                                       gconstpointer unused)
{
    plan_own(test, 1, GUEST_KEY_SENT);
    test->record->peer = g_strdup(PLAN_PEER); /* of an earlier one */
    test->input.has_migrated = true;
    test->input.erase_delay_migrated = 0;
    plan_go(test);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_MIGRATED);
    g_assert_cmpstr(plan_key(test, 1)->reason, ==, "guest 'web1' migrated to another host");
    test->input.has_migrated = false;
    plan_run(test);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_MIGRATED);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
}

/* Who asks how that one ended would be told of keys that were sent then. */
static void
test_an_earlier_migration_is_forgotten_by_what_happens_without_us(struct plan_fixture *test,
                                                                  gconstpointer unused)
{
    static const struct uuid none;

    plan_own(test, 1, GUEST_KEY_SENT);
    test->record->operation = test->guest; /* it came with this one */
    plan_go(test);
    test->input.has_migrated = true;
    plan_run(test);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_MIGRATED);
    g_assert_true(uuid_equal(&test->record->operation, &none));
    test->record->operation = test->guest; /* it left with this one */
    plan_refer(test, 1, false);
    plan_come(test);
    plan_run(test);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_PRESENT);
    g_assert_true(uuid_equal(&test->record->operation, &none));
}

static void
test_a_guest_that_is_still_defined_after_migrating_keeps_its_keys(struct plan_fixture *test,
                                                                  gconstpointer unused)
{
    leave(test, true);
    plan_refer(test, 1, false);
    plan_run_at(test, PLAN_NOW + 10 * PLAN_DELAY);
    plan_expect_nothing(test);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_PRESENT);
    plan_expect_state(test, 1, GUEST_KEY_BOUND);
}

static void
test_a_guest_that_came_back_has_no_copy_elsewhere(struct plan_fixture *test, gconstpointer unused)
{
    leave(test, true);
    plan_refer(test, 1, false);
    plan_go(test);
    plan_run(test);
    plan_come(test);
    plan_run(test);
    g_assert_false(plan_key(test, 1)->has_remote_copy);
    plan_go(test);
    plan_run(test);
    plan_run_at(test, PLAN_NOW + PLAN_DELAY);
    plan_expect_nothing(test); /* the other host erased its own when the guest left it */
    plan_expect_state(test, 1, GUEST_KEY_ORPHANED);
}

static void
test_nothing_changes_while_a_guest_is_leaving(struct plan_fixture *test, gconstpointer unused)
{
    leave(test, false);
    plan_refer(test, 2, true);
    plan_run(test);
    plan_expect_nothing(test);
    g_assert_false(test->plan.is_changed);
    g_assert_cmpint(test->record->state, ==, GUEST_STATE_LEAVING);
}

static void
test_what_is_being_defined_or_arrives_is_not_planned(struct plan_fixture *test,
                                                     gconstpointer unused)
{
    static const enum guest_state states[] = {GUEST_STATE_DEFINING, GUEST_STATE_ARRIVING};

    plan_own(test, 1, GUEST_KEY_SENT)->state = GUEST_KEY_MADE;
    test->record->peer = g_strdup(PLAN_PEER);
    g_assert_true(uuid_parse(PLAN_GUEST, &test->record->operation));
    test->volume_is_there = false;
    for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
        test->record->state = states[i];
        for (int answer = GUEST_ANSWER_UNKNOWN; answer <= GUEST_ANSWER_ABSENT; answer++) {
            test->input.answer = answer;
            plan_run_at(test, PLAN_NOW + 10 * PLAN_DELAY);
            plan_expect_nothing(test);
            g_assert_false(test->plan.is_changed);
            plan_expect_state(test, 1, GUEST_KEY_MADE);
        }
    }
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/plan_migration/" #name, struct plan_fixture, NULL, plan_set_up,             \
               test_##name, plan_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_confirmed_migration_erases_after_its_own_delay);
    ADD(a_confirmed_migration_unbinds_what_others_own_here);
    ADD(a_migration_that_nobody_confirmed_leaves_orphans);
    ADD(a_confirmation_that_comes_late_frees_an_orphan);
    ADD(a_migration_without_us_is_known_by_libvirts_event);
    ADD(an_earlier_migration_is_forgotten_by_what_happens_without_us);
    ADD(a_guest_that_is_still_defined_after_migrating_keeps_its_keys);
    ADD(a_guest_that_came_back_has_no_copy_elsewhere);
    ADD(nothing_changes_while_a_guest_is_leaving);
    ADD(what_is_being_defined_or_arrives_is_not_planned);
    return g_test_run();
}
