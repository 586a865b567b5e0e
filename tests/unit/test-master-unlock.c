/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Trying slots: their order, what is told of each, and that a slot counts only when it opened.
 */
#include "folder.h"
#include "master/recovery_text.h"
#include "slots_fixture.h"

struct fixture {
    struct folder folder;
    struct unlock_context context;
    struct master_key *master;
    struct slots *slots;
    struct secret_buf *recovery;
};

static void
set_up(struct fixture *test, gconstpointer unused)
{
    g_autoptr(secret_buf_t) bits = slots_fixture_bytes(0x5a, RECOVERY_SIZE);

    folder_init(&test->folder);
    test->master = slots_fixture_master();
    test->slots = slots_new(test->master);
    test->recovery = recovery_text_format(bits, NULL);
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    secret_buf_free(test->recovery);
    slots_free(test->slots);
    master_key_free(test->master);
    folder_clear(&test->folder);
}

static void
add_key_file(struct fixture *test, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = folder_path(&test->folder, name);
    struct slot *slot = slot_new(SLOT_KEY_FILE, name, NULL);

    g_assert_true(fields_set(slot->fields, "path", path, NULL));
    unlock_add_slot(&test->context, test->slots, slot, NULL, test->master, &error);
    g_assert_no_error(error);
    unlock_settle(&test->context, test->slots);
}

static void
add_recovery(struct fixture *test)
{
    g_autoptr(GError) error = NULL;

    unlock_add_slot(&test->context, test->slots, slot_new(SLOT_RECOVERY, "paper", NULL),
                    test->recovery, test->master, &error);
    g_assert_no_error(error);
}

static void
remove_file(struct fixture *test, const char *name)
{
    g_assert_cmpint(unlinkat(test->folder.fd, name, 0), ==, 0);
}

static void
test_slots_are_tried_in_their_order_until_one_opens(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GArray) attempts = unlock_attempts_new();
    g_autoptr(master_key_t) opened = NULL;
    const struct unlock_attempt *tried;

    add_key_file(test, "a");
    add_recovery(test);
    add_key_file(test, "b");
    add_key_file(test, "c");
    remove_file(test, "a");
    opened = unlock_any(&test->context, test->slots, NULL, attempts, NULL);
    slots_fixture_expect_key(opened, test->master);
    g_assert_cmpuint(attempts->len, ==, 2);
    tried = &g_array_index(attempts, struct unlock_attempt, 0);
    g_assert_true(uuid_equal(&tried->slot, &((struct slot *)test->slots->slots->pdata[0])->id));
    g_assert_nonnull(strstr(tried->problem, "cannot open the key file"));
    tried = &g_array_index(attempts, struct unlock_attempt, 1);
    g_assert_true(uuid_equal(&tried->slot, &((struct slot *)test->slots->slots->pdata[2])->id));
    g_assert_null(tried->problem);
}

static void
test_every_problem_is_told_when_none_opens(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    add_key_file(test, "a");
    add_key_file(test, "b");
    remove_file(test, "a");
    remove_file(test, "b");
    g_assert_null(unlock_any(&test->context, test->slots, NULL, NULL, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "no slot unlocks the master key: key-file slot ");
    g_assert_nonnull(strstr(error->message, "(a): cannot open"));
    g_assert_nonnull(strstr(error->message, "(b): cannot open"));
}

static void
test_a_secret_is_for_the_slots_of_persons_alone(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) attempts = unlock_attempts_new();
    g_autoptr(master_key_t) opened = NULL;

    add_key_file(test, "a");
    g_assert_null(unlock_any(&test->context, test->slots, test->recovery, NULL, &error));
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                 "the master key has no slot for a passphrase");
    add_recovery(test);
    opened = unlock_any(&test->context, test->slots, test->recovery, attempts, NULL);
    slots_fixture_expect_key(opened, test->master);
    g_assert_cmpuint(attempts->len, ==, 1);
}

static void
test_slots_of_persons_alone_need_one(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    add_recovery(test);
    g_assert_null(unlock_any(&test->context, test->slots, NULL, NULL, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET,
                      "run 'virtcrypt master unlock'");
}

static void
test_a_slot_of_a_person_does_not_open_without_a_secret(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    add_recovery(test);
    g_assert_null(
        unlock_slot(&test->context, test->slots, test->slots->slots->pdata[0], NULL, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                      "the recovery passphrase is needed");
}

static void
test_another_recovery_passphrase_does_not_open(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) bits = slots_fixture_bytes(0x5b, RECOVERY_SIZE);
    g_autoptr(secret_buf_t) other = recovery_text_format(bits, NULL);

    add_recovery(test);
    g_assert_null(
        unlock_slot(&test->context, test->slots, test->slots->slots->pdata[0], other, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                      "does not unlock the recovery slot ");
}

static void
test_nothing_more_is_tried_after_a_cancel(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    gint cancel = 0;
    g_autoptr(master_key_t) opened = NULL;

    add_key_file(test, "a");
    test->context.cancel = &cancel;
    opened = unlock_any(&test->context, test->slots, NULL, NULL, NULL);
    g_assert_nonnull(opened);
    g_atomic_int_set(&cancel, 1);
    g_assert_null(unlock_any(&test->context, test->slots, NULL, NULL, &error));
    g_assert_true(error_is(error, ERROR_OPERATION_ABORTED));
}

static void
test_a_new_slot_that_fails_leaves_the_others(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) mistyped = slots_fixture_text("not a recovery passphrase");

    add_key_file(test, "a");
    g_assert_false(unlock_add_slot(&test->context, test->slots, slot_new(SLOT_RECOVERY, NULL, NULL),
                                   mistyped, test->master, &error));
    g_assert_true(error_is(error, ERROR_INVALID_ARG));
    g_assert_cmpuint(test->slots->slots->len, ==, 1);
}

static void
test_a_label_that_is_taken_leaves_no_key_file(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->folder, "b");
    struct slot *slot = slot_new(SLOT_KEY_FILE, "a", NULL);
    g_autoptr(GError) error = NULL;

    add_key_file(test, "a");
    g_assert_true(fields_set(slot->fields, "path", path, NULL));
    g_assert_false(unlock_add_slot(&test->context, test->slots, slot, NULL, test->master, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "has the label 'a'");
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
}

static void
test_a_renewed_slot_keeps_id_label_and_place(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) bits = slots_fixture_bytes(0x77, RECOVERY_SIZE);
    g_autoptr(secret_buf_t) newer = recovery_text_format(bits, NULL);
    g_autoptr(slot_t) before = NULL;
    g_autoptr(master_key_t) opened = NULL;
    const struct slot *after;

    add_recovery(test);
    add_key_file(test, "a");
    before = slot_copy(test->slots->slots->pdata[0]);
    unlock_renew_slot(&test->context, test->slots, before, newer, test->master, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(test->slots->slots->len, ==, 2);
    after = test->slots->slots->pdata[0];
    g_assert_true(uuid_equal(&after->id, &before->id));
    g_assert_cmpstr(after->label, ==, "paper");
    opened = unlock_slot(&test->context, test->slots, after, newer, NULL);
    slots_fixture_expect_key(opened, test->master);
    g_assert_null(unlock_slot(&test->context, test->slots, after, test->recovery, NULL));
}

static void
test_fields_that_are_not_an_operators_are_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(fields_t) fields = fields_new();

    g_assert_true(fields_set(fields, "path", "/a", NULL));
    g_assert_true(unlock_check_asked(SLOT_KEY_FILE, fields, NULL));
    g_assert_true(fields_set(fields, "made", "yes", NULL));
    g_assert_false(unlock_check_asked(SLOT_KEY_FILE, fields, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                 "the unlock method 'key-file' has no parameter 'made'");
    g_assert_false(unlock_check_asked((enum slot_method)99, fields, NULL));
}

#define ADD(name)                                                                                  \
    g_test_add("/master/unlock/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(slots_are_tried_in_their_order_until_one_opens);
    ADD(every_problem_is_told_when_none_opens);
    ADD(a_secret_is_for_the_slots_of_persons_alone);
    ADD(slots_of_persons_alone_need_one);
    ADD(a_slot_of_a_person_does_not_open_without_a_secret);
    ADD(another_recovery_passphrase_does_not_open);
    ADD(nothing_more_is_tried_after_a_cancel);
    ADD(a_new_slot_that_fails_leaves_the_others);
    ADD(a_label_that_is_taken_leaves_no_key_file);
    ADD(a_renewed_slot_keeps_id_label_and_place);
    ADD(fields_that_are_not_an_operators_are_refused);
    return g_test_run();
}
