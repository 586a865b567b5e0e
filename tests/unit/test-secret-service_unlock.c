/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Master key and generations that are missing, others, or of before: the service is locked rather
 * than given new ones, and what an earlier release sealed is moved.
 */
#include "custodian_slots.h"
#include "rotation.h"

static void
test_nothing_opens_under_the_master_key_alone(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    custodian_close(test);
    g_assert_cmpint(g_unlink(test->generations), ==, 0);
    custodian_open(test);
    g_assert_nonnull(strstr(secret_service_locked_reason(test->service),
                            "although 2 sealed values need some (" UUID_1 ".key is the first)"));
    folder_expect_none(&test->folder, "generations");
    g_assert_cmpuint(status_of(test).number, ==, 0);
}

static void
test_generations_that_are_put_back_unlock(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) kept = NULL;

    prepare_two(test);
    custodian_close(test);
    kept = folder_get(&test->folder, "generations");
    g_assert_cmpint(g_unlink(test->generations), ==, 0);
    custodian_open(test);
    g_assert_nonnull(secret_service_locked_reason(test->service));
    folder_put(&test->folder, "generations", g_bytes_get_data(kept, NULL), g_bytes_get_size(kept));
    secret_service_reload(test->service);
    g_assert_null(secret_service_locked_reason(test->service));
    expect_value(test, UUID_1, "first");
}

/* Old generations with new values: nothing is sealed under them. */
static void
test_generations_of_before_a_rotation_lock(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) old = NULL;

    prepare_two(test);
    old = folder_get(&test->folder, "generations");
    undefine(test, UUID_1);
    await_generation(test, 2);
    custodian_close(test);
    folder_put(&test->folder, "generations", g_bytes_get_data(old, NULL), g_bytes_get_size(old));
    custodian_open(test);
    g_assert_nonnull(strstr(secret_service_locked_reason(test->service),
                            "are others than the 1 sealed values need"));
}

static void
test_generations_that_went_away_are_written_at_a_reload(struct custodian *test,
                                                        gconstpointer unused)
{
    prepare_two(test);
    g_assert_cmpint(g_unlink(test->generations), ==, 0);
    secret_service_reload(test->service);
    expect_logged(test, "were gone, and are written again from memory");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
}

static void
spoil(struct custodian *test, size_t at, size_t len)
{
    g_autoptr(GBytes) content = folder_get(&test->folder, "generations");
    g_autofree uint8_t *bytes =
        g_memdup2(g_bytes_get_data(content, NULL), g_bytes_get_size(content));

    bytes[at] ^= 1;
    folder_put(&test->folder, "generations", bytes, len);
}

/* Damaged, emptied, cut, and something else. */
static void
test_generations_that_are_damaged_are_written_at_a_reload(struct custodian *test,
                                                          gconstpointer unused)
{
    static const struct {
        size_t at;
        size_t len;
    } spoilt[] = {{99, 100}, {0, 0}, {0, 20}, {0, 100}, {99, 60}};

    for (size_t i = 0; i < G_N_ELEMENTS(spoilt); i++) {
        g_autoptr(GBytes) good = NULL;

        if (i == 0)
            prepare_two(test);
        good = folder_get(&test->folder, "generations");
        spoil(test, spoilt[i].at, spoilt[i].len);
        secret_service_reload(test->service);
        expect_logged(test, "), and are written again from memory");
        custodian_reopen(test);
        expect_value(test, UUID_1, "first");
        secret_service_reload(test->service);
    }
}

/* It may be part of a store that somebody is about to put back as a whole. */
static void
test_generations_of_others_are_left_and_told(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) others = NULL;

    prepare_two(test);
    spoil(test, 20, 100); /* in the id of the master key */
    others = folder_get(&test->folder, "generations");
    secret_service_reload(test->service);
    expect_logged(test, "; the daemon goes on with what it has in memory, and is locked at its "
                        "next start");
    folder_expect(&test->folder, "generations", others);
    expect_value(test, UUID_1, "first");
}

static void
test_an_erasure_while_locked_is_not_forgotten(struct custodian *test, gconstpointer unused)
{
    g_autofree char *aside = folder_path(&test->folder, "aside");

    prepare_two(test);
    custodian_close(test);
    g_assert_cmpint(g_rename(test->master_key, aside), ==, 0);
    custodian_open(test);
    undefine(test, UUID_1);
    g_assert_cmpint(g_rename(aside, test->master_key), ==, 0);
    secret_service_reload(test->service);
    await_generation(test, 2);
    expect_value(test, UUID_2, "second");
}

static void
test_no_master_key_is_made_beside_generations(struct custodian *test, gconstpointer unused)
{
    custodian_open(test);
    custodian_close(test);
    g_assert_cmpint(g_unlink(test->master_key), ==, 0);
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    custodian_open(test);
    g_assert_nonnull(strstr(secret_service_locked_reason(test->service), "are missing although"));
    folder_expect_none(&test->folder, "master.key");
    folder_expect_none(&test->folder, "master.slots");
}

static void
test_missing_slots_lock_until_they_are_put_back(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) slots = NULL;

    prepare_two(test);
    custodian_close(test);
    slots = folder_get(&test->folder, "master.slots");
    g_assert_cmpint(g_unlink(test->slots), ==, 0);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_OPERATION_INVALID,
                    "are missing although there are sealed values or key-encryption generations: "
                    "put that file back");
    folder_expect_none(&test->folder, "master.slots");
    put_back_slots(test, slots);
    secret_service_reload(test->service);
    expect_value(test, UUID_1, "first");
}

/* ---- stores of before ---- */

/* Makes the two values as the last release sealed them: under the master key itself. */
static void
make_legacy(struct custodian *test)
{
    g_autoptr(master_key_t) master = NULL;

    prepare_two(test);
    custodian_close(test);
    master = open_master(test);
    for (unsigned int i = 0; i < 2; i++) {
        const char *name = i == 0 ? UUID_1 ".key" : UUID_2 ".key";
        g_autoptr(generations_t) generations =
            generations_open(test->generations, master, NULL, NULL);
        g_autoptr(GBytes) key = back_up(test, name);
        g_autoptr(GBytes) legacy =
            sealed_rewrap(generations_current(generations), master, g_bytes_get_data(key, NULL),
                          g_bytes_get_size(key), NULL);

        put_back(test, name, legacy);
    }
    g_assert_cmpint(g_unlink(test->generations), ==, 0);
}

static void
test_a_store_of_before_is_moved_at_once(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) legacy = NULL;

    test->rotation_delay = 86400;
    make_legacy(test);
    legacy = back_up(test, UUID_1 ".key");
    custodian_open(test);
    expect_value(test, UUID_1, "first");
    expect_value(test, UUID_2, "second");
    g_assert_true(status_of(test).is_rotating);
    await_generation(test, 1);
    expect_value(test, UUID_1, "first");
    custodian_reopen(test);
    expect_value(test, UUID_1, "first");
    expect_value(test, UUID_2, "second");
    custodian_close(test);
    put_back(test, UUID_1 ".key", legacy);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed under a key that is not here");
    expect_value(test, UUID_2, "second");
}

/* Half of it was moved when the file went away: a new one would not open that half. */
static void
test_a_store_of_before_that_was_half_moved_needs_its_file(struct custodian *test,
                                                          gconstpointer unused)
{
    make_legacy(test);
    custodian_open(test);
    set_value(test, UUID_1, "moved");
    custodian_close(test);
    g_assert_cmpint(g_unlink(test->generations), ==, 0);
    custodian_open(test);
    g_assert_nonnull(strstr(secret_service_locked_reason(test->service),
                            "although 1 sealed values need some (" UUID_1 ".key is the first)"));
    folder_expect_none(&test->folder, "generations");
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_unlock/" #name, struct custodian, NULL, set_up, test_##name,       \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(nothing_opens_under_the_master_key_alone);
    ADD(generations_that_are_put_back_unlock);
    ADD(generations_of_before_a_rotation_lock);
    ADD(generations_that_went_away_are_written_at_a_reload);
    ADD(generations_that_are_damaged_are_written_at_a_reload);
    ADD(generations_of_others_are_left_and_told);
    ADD(an_erasure_while_locked_is_not_forgotten);
    ADD(no_master_key_is_made_beside_generations);
    ADD(missing_slots_lock_until_they_are_put_back);
    ADD(a_store_of_before_is_moved_at_once);
    ADD(a_store_of_before_that_was_half_moved_needs_its_file);
    return g_test_run();
}
