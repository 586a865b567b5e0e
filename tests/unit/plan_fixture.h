/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a guest, its record and the world around it for tests of guest/plan.c: each call of
 * plan_run is one look, whose record is that of the next one.
 */
#pragma once

#include <glib.h>
#include <string.h>

#include "guest/plan.h"

#define PLAN_GUEST  "0bd8f1a4-1111-4222-8333-444455556666"
#define PLAN_URI    "qemu:///system"
#define PLAN_VOLUME "/images/web1.qcow2"
#define PLAN_PEER   "qemu+ssh://there/system"

/* Reasons. */
#define UNDEFINED "guest 'web1' was undefined"
#define GONE      UNDEFINED ", its volume is gone"

enum { PLAN_NOW = 1800000000, PLAN_DELAY = 3600, PLAN_DELAY_MIGRATED = 60 };

struct plan_fixture {
    struct uuid guest;
    struct guest_plan_input input;
    struct guest_record *record; /* or NULL */
    GPtrArray *references;
    GArray *bound;        /* of struct uuid: this guest's */
    bool volume_is_there; /* every one */
    unsigned int asked_volume;
    char *asked_place;   /* with it */
    const char *place;   /* of every volume that is there */
    bool leaves_volume;  /* when another one takes its place */
    unsigned int owners; /* others, of every secret */
    bool is_volume_elsewhere;
    bool is_used_elsewhere;
    struct guest_plan plan; /* the last one's */
};

static inline struct uuid
plan_secret(unsigned int number)
{
    struct uuid uuid = {.bytes = {0xd9, 0xa3, 0xc9, 0xa0}};

    uuid.bytes[15] = (uint8_t)number;
    return uuid;
}

static inline bool
plan_volume_exists(void *opaque, const char *volume, const char *place)
{
    struct plan_fixture *test = opaque;

    g_assert_nonnull(volume);
    g_free(test->asked_place);
    test->asked_place = g_strdup(place);
    test->asked_volume++;
    return test->volume_is_there;
}

static inline char *
plan_find_place(void *opaque, const char *volume)
{
    const struct plan_fixture *test = opaque;

    g_assert_nonnull(volume);
    return test->volume_is_there ? g_strdup(test->place) : NULL;
}

static inline bool
plan_leaves_volume(void *opaque, const struct guest_key *key, const char *volume)
{
    return ((struct plan_fixture *)opaque)->leaves_volume && g_strcmp0(key->volume, volume) != 0;
}

static inline unsigned int
plan_count_other_owners(void *opaque, const struct uuid *secret)
{
    (void)secret;
    return ((struct plan_fixture *)opaque)->owners;
}

static inline bool
plan_is_volume_elsewhere(void *opaque, const struct uuid *secret, const char *volume)
{
    (void)secret;
    g_assert_nonnull(volume);
    return ((struct plan_fixture *)opaque)->is_volume_elsewhere;
}

static inline bool
plan_is_used_elsewhere(void *opaque, const struct uuid *secret)
{
    (void)secret;
    return ((struct plan_fixture *)opaque)->is_used_elsewhere;
}

static inline void
plan_free_reference(void *data)
{
    struct guest_reference *reference = data;

    g_free(reference->volume);
    g_free(reference);
}

static inline void
plan_set_up(struct plan_fixture *test, gconstpointer unused)
{
    (void)unused;
    g_assert_true(uuid_parse(PLAN_GUEST, &test->guest));
    test->references = g_ptr_array_new_with_free_func(plan_free_reference);
    test->bound = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    test->volume_is_there = true;
    test->is_volume_elsewhere = true;
    test->input = (struct guest_plan_input){
        .guest = &test->guest,
        .uri = PLAN_URI,
        .answer = GUEST_ANSWER_PRESENT,
        .is_persistent = true,
        .name = "web1",
        .references = test->references,
        .bound = test->bound,
        .now = PLAN_NOW,
        .erase_delay_undefine = PLAN_DELAY,
        .erase_delay_migrated = PLAN_DELAY_MIGRATED,
        .volume_exists = plan_volume_exists,
        .find_place = plan_find_place,
        .leaves_volume = plan_leaves_volume,
        .count_other_owners = plan_count_other_owners,
        .is_volume_elsewhere = plan_is_volume_elsewhere,
        .is_used_elsewhere = plan_is_used_elsewhere,
        .opaque = test,
    };
}

static inline void
plan_tear_down(struct plan_fixture *test, gconstpointer unused)
{
    (void)unused;
    if (test->plan.texts)
        guest_plan_clear(&test->plan);
    guest_record_free(test->record);
    g_free(test->asked_place);
    g_ptr_array_unref(test->references);
    g_array_unref(test->bound);
}

/* What the guest refers to from now on. */
static inline struct guest_reference *
plan_refer(struct plan_fixture *test, unsigned int number, bool is_generated)
{
    struct guest_reference *reference = g_new0(struct guest_reference, 1);

    reference->secret = plan_secret(number);
    reference->volume = g_strdup(PLAN_VOLUME);
    reference->is_generated = is_generated;
    reference->has_value = true;
    g_ptr_array_add(test->references, reference);
    return reference;
}

static inline void
plan_bind(struct plan_fixture *test, unsigned int number)
{
    struct uuid secret = plan_secret(number);

    g_array_append_val(test->bound, secret);
}

static inline void
plan_release(struct plan_fixture *test, const struct uuid *secret)
{
    for (guint i = 0; i < test->bound->len; i++) {
        if (uuid_equal(&g_array_index(test->bound, struct uuid, i), secret))
            g_array_remove_index(test->bound, i--);
    }
}

/* A key that the guest owns already, of a volume. */
static inline struct guest_key *
plan_own(struct plan_fixture *test, unsigned int number, enum guest_key_origin origin)
{
    struct uuid secret = plan_secret(number);
    struct guest_key *key;

    if (!test->record) {
        test->record = guest_record_new(&test->guest, "web1", PLAN_URI);
        test->record->since = PLAN_NOW - 100000;
    }
    key = guest_record_take(test->record, &secret, origin);
    key->volume = g_strdup(PLAN_VOLUME);
    plan_bind(test, number);
    return key;
}

static inline void
plan_make(struct plan_fixture *test)
{
    if (test->plan.texts)
        guest_plan_clear(&test->plan);
    test->input.record = test->record;
    guest_plan_make(&test->input, &test->plan);
}

/* As the caller does when all actions succeed. */
static inline void
plan_carry_out(struct plan_fixture *test)
{
    for (guint i = 0; i < test->plan.actions->len; i++) {
        const struct guest_action *action =
            &g_array_index(test->plan.actions, struct guest_action, i);

        plan_release(test, &action->secret);
        if (action->kind == GUEST_ACTION_BIND)
            g_array_append_val(test->bound, action->secret);
    }
    guest_record_free(test->record);
    test->record = test->plan.record ? guest_record_copy(test->plan.record) : NULL;
}

/* A look at the guest. */
static inline void
plan_run(struct plan_fixture *test)
{
    plan_make(test);
    plan_carry_out(test);
}

static inline void
plan_run_at(struct plan_fixture *test, int64_t now)
{
    test->input.now = now;
    plan_run(test);
}

static inline void
plan_go(struct plan_fixture *test)
{
    test->input.answer = GUEST_ANSWER_ABSENT;
}

static inline void
plan_come(struct plan_fixture *test)
{
    test->input.answer = GUEST_ANSWER_PRESENT;
}

/* NULL if the guest has no such key. */
static inline const struct guest_key *
plan_key(const struct plan_fixture *test, unsigned int number)
{
    struct uuid secret = plan_secret(number);

    return test->record ? guest_record_find(test->record, &secret) : NULL;
}

static inline void
plan_expect_state(const struct plan_fixture *test, unsigned int number, enum guest_key_state state)
{
    const struct guest_key *key = plan_key(test, number);

    g_assert_nonnull(key);
    g_assert_cmpint(key->state, ==, state);
}

static inline void
plan_expect_nothing(const struct plan_fixture *test)
{
    g_assert_cmpuint(test->plan.actions->len, ==, 0);
}

/* One action, and no other. */
static inline void
plan_expect(const struct plan_fixture *test, enum guest_action_kind kind, unsigned int number,
            const char *reason)
{
    struct uuid secret = plan_secret(number);
    const struct guest_action *action;

    g_assert_cmpuint(test->plan.actions->len, ==, 1);
    action = &g_array_index(test->plan.actions, struct guest_action, 0);
    g_assert_cmpint(action->kind, ==, kind);
    g_assert_true(uuid_equal(&action->secret, &secret));
    g_assert_cmpstr(action->reason, ==, reason);
}

static inline const struct guest_action *
plan_first_action(const struct plan_fixture *test)
{
    g_assert_cmpuint(test->plan.actions->len, ==, 1);
    return &g_array_index(test->plan.actions, struct guest_action, 0);
}
