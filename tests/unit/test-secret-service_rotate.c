/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Rotation of the key-encryption generation by the service: what was erased does not open again,
 * what was not goes on opening, clients are served meanwhile, and what stands in the way is named.
 */
#include "custodian_slots.h"
#include "rotation.h"

enum { MANY = 300 };

static void
test_what_was_undefined_does_not_open_again(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) xml = NULL;
    g_autoptr(GBytes) key = NULL;

    prepare_two(test);
    xml = back_up(test, UUID_1 ".xml");
    key = back_up(test, UUID_1 ".key");
    undefine(test, UUID_1);
    await_generation(test, 2);
    expect_value(test, UUID_2, "second");
    custodian_close(test);
    put_back(test, UUID_1 ".xml", xml);
    put_back(test, UUID_1 ".key", key);
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed under a key that is not here");
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET,
                    "under a key-encryption generation that was destroyed after an erasure");
    expect_value(test, UUID_2, "second");
}

static void
test_a_value_that_was_replaced_does_not_open_again(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = NULL;

    prepare_two(test);
    key = back_up(test, UUID_1 ".key");
    set_value(test, UUID_1, "third");
    await_generation(test, 2);
    put_back(test, UUID_1 ".key", key);
    secret_service_reload(test->service);
    expect_logged(test, "was sealed under a key that is not here");
    expect_value(test, UUID_1, "third");
    custodian_reopen(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed under a key that is not here");
}

static void
test_a_rotation_waits_for_the_delay(struct custodian *test, gconstpointer unused)
{
    test->rotation_delay = 86400;
    prepare_two(test);
    undefine(test, UUID_1);
    g_assert_true(secret_service_has_rotation(test->service));
    g_assert_cmpuint(status_of(test).number, ==, 1);
    /* What is due is known to the next daemon. */
    test->rotation_delay = 0;
    custodian_reopen(test);
    await_generation(test, 2);
    g_assert_false(secret_service_has_rotation(test->service));
    g_assert_false(generations_is_due(test->generations));
}

static void
test_a_rotation_that_was_stopped_goes_on(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    undefine(test, UUID_1);
    custodian_close(test);
    {
        g_autoptr(master_key_t) master = open_master(test);
        g_autoptr(generations_t) generations =
            generations_open(test->generations, master, NULL, NULL);

        g_assert_true(generations_begin(generations, NULL));
        g_assert_true(generations_clear_due(test->generations, NULL));
    }
    custodian_open(test);
    g_assert_true(status_of(test).is_rotating);
    expect_value(test, UUID_2, "second");
    await_generation(test, 2);
    expect_value(test, UUID_2, "second");
    custodian_reopen(test);
    expect_value(test, UUID_2, "second");
}

static void
test_what_erases_nothing_begins_nothing(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    define(test, UUID_1 " volume /a private about:words");
    define(test, UUID_3 " volume /c");
    undefine(test, UUID_3);
    define(test, UUID_3 " volume /c ephemeral");
    set_value(test, UUID_3, "in memory");
    set_value(test, UUID_3, "in memory again");
    undefine(test, UUID_3);
    g_assert_false(secret_service_has_rotation(test->service));
    g_assert_false(generations_is_due(test->generations));
}

/* ---- many, and clients meanwhile ---- */

static void
define_many(struct custodian *test)
{
    struct outcome *outcomes = g_new0(struct outcome, 2 * MANY);

    for (unsigned int i = 0; i < MANY; i++) {
        g_autofree char *uuid = g_strdup_printf("44444444-4444-4444-8444-%012u", i);
        g_autofree char *words = g_strdup_printf("%s volume /%u", uuid, i);
        g_autofree char *value = g_strdup_printf("value %u", i);

        start_define(test, words, &outcomes[2 * i]);
        start_set_value(test, uuid, value, &outcomes[2 * i + 1]);
    }
    secret_service_drain(test->service);
    for (unsigned int i = 0; i < 2 * MANY; i++)
        g_assert_no_error(outcomes[i].error);
    g_free(outcomes);
}

static void
expect_many(struct custodian *test)
{
    for (unsigned int i = 0; i < MANY; i++) {
        g_autofree char *uuid = g_strdup_printf("44444444-4444-4444-8444-%012u", i);
        g_autofree char *value = g_strdup_printf("value %u", i);

        expect_value(test, uuid, value);
    }
}

static unsigned int reads;

static void
read_one(struct custodian *test)
{
    unsigned int i = reads++ % MANY;
    g_autofree char *uuid = g_strdup_printf("44444444-4444-4444-8444-%012u", i);
    g_autofree char *value = g_strdup_printf("value %u", i);

    expect_value(test, uuid, value);
}

static void
test_clients_read_all_the_while(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    define_many(test);
    undefine(test, UUID_1);
    reads = 0;
    await(test, has_ended, 2, read_one);
    /* It took several turns of the loop, and none was for the rotation alone. */
    g_assert_cmpuint(reads, >, 4);
    expect_many(test);
    custodian_reopen(test);
    expect_many(test);
}

static struct outcome change_outcome;

/* Once, in the middle of it. */
static void
change_one(struct custodian *test)
{
    if (status_of(test).is_rotating && change_outcome.name == NULL) {
        change_outcome.name = "begun";
        start_set_value(test, UUID_2, "changed meanwhile", &change_outcome);
        start_undefine(test, "44444444-4444-4444-8444-000000000299", &change_outcome);
    }
}

static bool
has_come_to_three(const struct custodian *test, uint64_t number)
{
    return has_ended(test, number) && change_outcome.calls == 2;
}

/* What it erases while the second generation begins is under that, and takes a third one. */
static void
test_changes_in_the_middle_have_a_rotation_of_their_own(struct custodian *test,
                                                        gconstpointer unused)
{
    prepare_two(test);
    define_many(test);
    change_outcome = (struct outcome){0};
    undefine(test, UUID_1);
    await(test, has_come_to_three, 3, change_one);
    g_assert_no_error(change_outcome.error);
    expect_value(test, UUID_2, "changed meanwhile");
    custodian_reopen(test);
    expect_value(test, UUID_2, "changed meanwhile");
    expect_undefined(test, "44444444-4444-4444-8444-000000000299");
}

static bool was_drained;

static void
drain_once(struct custodian *test)
{
    if (was_drained || !status_of(test).is_rotating || status_of(test).left == MANY + 1)
        return;
    was_drained = true;
    secret_service_drain(test->service);
    g_assert_cmpuint(status_of(test).left, >, 0);
    g_assert_true(status_of(test).is_rotating);
}

static void
test_a_drain_does_not_wait_for_the_whole_rotation(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    define_many(test);
    undefine(test, UUID_1);
    was_drained = false;
    await(test, has_ended, 2, drain_once);
    g_assert_true(was_drained);
    expect_many(test);
}

/* ---- what is not a good value of a secret ---- */

static void
test_a_stray_value_is_moved(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    custodian_close(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".xml", 0), ==, 0);
    custodian_open(test);
    undefine(test, UUID_2);
    await_generation(test, 2);
    define(test, UUID_1 " volume /a private");
    expect_value(test, UUID_1, "first");
}

static void
test_a_value_whose_definition_was_changed_is_moved(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    custodian_close(test);
    put_xml(test, UUID_1 " volume /a");
    custodian_open(test);
    expect_no_value(test, UUID_1, ERROR_INVALID_SECRET, "was sealed for another definition");
    undefine(test, UUID_2);
    await_generation(test, 2);
    custodian_close(test);
    put_xml(test, UUID_1 " volume /a private");
    custodian_open(test);
    expect_value(test, UUID_1, "first");
}

/* The file was lost, and the daemon serves the value from memory. */
static void
test_a_value_that_is_in_memory_alone_is_moved(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_1 ".key", 0), ==, 0);
    undefine(test, UUID_2);
    await_generation(test, 2);
    expect_value(test, UUID_1, "first");
}

static void
test_a_file_that_cannot_be_parsed_holds_the_end_up(struct custodian *test, gconstpointer unused)
{
    prepare_two(test);
    folder_put_text(&test->secrets, UUID_3 ".key", "whatever");
    undefine(test, UUID_1);
    await(test, has_problem, 0, NULL);
    g_assert_cmpstr(status_of(test).problem, ==,
                    UUID_3 ".key is no sealed value that this program can read; put a good copy "
                           "of it back, or set the value again, or remove the file");
    g_assert_true(status_of(test).is_rotating);
    g_assert_cmpuint(status_of(test).left, ==, 1);
    g_assert_false(secret_service_has_rotation(test->service));
    expect_logged(test, "the older key-encryption generation cannot be destroyed yet");
    expect_value(test, UUID_2, "second");
    g_assert_cmpint(unlinkat(test->secrets.fd, UUID_3 ".key", 0), ==, 0);
    restart(test);
    await_generation(test, 2);
    expect_value(test, UUID_2, "second");
}

static void
test_a_value_whose_wrapping_is_spoilt_holds_the_end_up(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) key = NULL;
    g_autofree uint8_t *bytes = NULL;
    gsize len = 0;

    prepare_two(test);
    custodian_close(test);
    key = back_up(test, UUID_1 ".key");
    bytes = g_memdup2(g_bytes_get_data(key, &len), g_bytes_get_size(key));
    bytes[100] ^= 1;
    folder_put(&test->secrets, UUID_1 ".key", bytes, len);
    custodian_open(test);
    undefine(test, UUID_2);
    await(test, has_problem, 0, NULL);
    g_assert_nonnull(
        strstr(status_of(test).problem, "secret " UUID_1 " is damaged or was tampered with"));
    /* It can still be mended. */
    put_back(test, UUID_1 ".key", key);
    restart(test);
    await_generation(test, 2);
    expect_value(test, UUID_1, "first");
}

/* Another host's needs no generation of ours. */
static void
test_a_value_of_another_host_holds_nothing_up(struct custodian *test, gconstpointer unused)
{
    g_autoptr(GBytes) foreign = NULL;

    prepare_two(test);
    foreign = back_up(test, UUID_1 ".key");
    undefine(test, UUID_1);
    await_generation(test, 2);
    put_back(test, UUID_3 ".key", foreign);
    restart(test);
    set_value(test, UUID_2, "third");
    await_generation(test, 3);
    folder_expect(&test->secrets, UUID_3 ".key", foreign);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/service_rotate/" #name, struct custodian, NULL, set_up, test_##name,       \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(what_was_undefined_does_not_open_again);
    ADD(a_value_that_was_replaced_does_not_open_again);
    ADD(a_rotation_waits_for_the_delay);
    ADD(a_rotation_that_was_stopped_goes_on);
    ADD(what_erases_nothing_begins_nothing);
    ADD(clients_read_all_the_while);
    ADD(changes_in_the_middle_have_a_rotation_of_their_own);
    ADD(a_drain_does_not_wait_for_the_whole_rotation);
    ADD(a_stray_value_is_moved);
    ADD(a_value_whose_definition_was_changed_is_moved);
    ADD(a_value_that_is_in_memory_alone_is_moved);
    ADD(a_file_that_cannot_be_parsed_holds_the_end_up);
    ADD(a_value_whose_wrapping_is_spoilt_holds_the_end_up);
    ADD(a_value_of_another_host_holds_nothing_up);
    return g_test_run();
}
