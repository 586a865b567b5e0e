/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The set of slots and its bytes: the golden file, what another key or a change of any byte does,
 * names, labels, and the master key of before.
 */
#include "master/recovery_text.h"
#include "slots_fixture.h"
#include "slots_golden.h"

static struct slots *
parse(GBytes *bytes)
{
    g_autoptr(GError) error = NULL;
    struct slots *slots =
        slots_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &error);

    g_assert_no_error(error);
    return slots;
}

static void
test_golden_file_is_read(void)
{
    g_autoptr(GBytes) golden = slots_golden_new();
    g_autoptr(slots_t) slots = parse(golden);
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autofree char *first = NULL;
    const struct slot *slot;

    g_assert_cmpmem(slots->master_key_id, MASTER_KEY_ID_SIZE, master_key_id(master),
                    MASTER_KEY_ID_SIZE);
    g_assert_cmpuint(slots->sequence, ==, 5);
    g_assert_cmpuint(slots->flags, ==, SLOTS_HAS_INDEX);
    g_assert_true(slots->has_previous);
    g_assert_cmpuint(slots->slots->len, ==, 2);
    slot = slots->slots->pdata[0];
    first = slot_describe(slot);
    g_assert_cmpstr(first, ==, "key-file slot 0a1b2c3d (disk)");
    g_assert_cmpuint(slot->created, ==, 1700000000);
    g_assert_cmpstr(fields_get(slot->fields, "path"), ==, "/etc/libvirt/virtcrypt/master.key");
}

static void
test_golden_slots_open_and_the_tag_is_right(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) golden = slots_golden_new();
    g_autoptr(slots_t) slots = parse(golden);
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(master_key_t) older = slots_fixture_other_master(0xaa);
    g_autoptr(secret_buf_t) slot_key = slots_fixture_bytes(0xc1, SLOT_KEY_SIZE);
    g_autoptr(secret_buf_t) recovery = slots_fixture_text(
        "b9d5mpjd tb9d5mpc jtb9d5mk pjtb9d57 mpjtb9dg 5mpjtb95 d5mpjtb7 9dc68y65");
    g_autoptr(master_key_t) first = slots_unwrap(slots, slots->slots->pdata[0], slot_key, &error);
    g_autoptr(master_key_t) second =
        unlock_slot(&(struct unlock_context){0}, slots, slots->slots->pdata[1], recovery, &error);
    g_autoptr(master_key_t) previous = slots_open_previous(slots, master, &error);

    g_assert_no_error(error);
    slots_fixture_expect_key(first, master);
    slots_fixture_expect_key(second, master);
    slots_fixture_expect_key(previous, older);
    g_assert_true(slots_authenticate(g_bytes_get_data(golden, NULL), g_bytes_get_size(golden),
                                     master, &error));
}

static void
test_golden_bytes_are_written_again(void)
{
    g_autoptr(GBytes) golden = slots_golden_new();
    g_autoptr(slots_t) slots = parse(golden);
    g_autoptr(slots_t) copy = slots_copy(slots);
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(GBytes) again = slots_format(copy, master, NULL);

    g_assert_true(g_bytes_equal(golden, again));
}

/* A slot opens as it was, or not at all, and the change is seen; nothing else. */
static void
check_changed(const uint8_t *bytes, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(slots_t) slots = slots_parse(bytes, len, &error);
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(secret_buf_t) slot_key = slots_fixture_bytes(0xc1, SLOT_KEY_SIZE);

    g_assert_false(slots_authenticate(bytes, len, master, NULL));
    if (!slots) {
        g_assert_true(error_is(error, ERROR_INVALID_SECRET) ||
                      error_is(error, ERROR_CONFIG_UNSUPPORTED));
        return;
    }
    for (guint i = 0; i < slots->slots->len; i++) {
        g_autoptr(GError) problem = NULL;
        g_autoptr(master_key_t) opened =
            slots_unwrap(slots, slots->slots->pdata[i], slot_key, &problem);

        if (opened)
            slots_fixture_expect_key(opened, master);
        else
            expect_error_part(problem, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                              " does not unlock the ");
    }
    if (slots->has_previous) {
        g_autoptr(master_key_t) older = slots_fixture_other_master(0xaa);
        g_autoptr(master_key_t) previous = slots_open_previous(slots, master, NULL);

        if (previous)
            slots_fixture_expect_key(previous, older);
    }
}

static void
test_a_change_of_any_byte_is_seen_and_gives_no_other_key(void)
{
    g_autoptr(GBytes) golden = slots_golden_new();
    gsize len = g_bytes_get_size(golden);

    for (gsize i = 0; i < len; i++) {
        g_autofree uint8_t *bytes = g_memdup2(g_bytes_get_data(golden, NULL), len);

        bytes[i] ^= 0x01;
        check_changed(bytes, len);
        bytes[i] ^= 0x81;
        check_changed(bytes, len);
        bytes[i] = (uint8_t)~bytes[i];
        check_changed(bytes, len);
    }
}

static void
test_every_other_length_is_refused(void)
{
    g_autoptr(GBytes) golden = slots_golden_new();
    gsize len = g_bytes_get_size(golden);
    g_autofree uint8_t *longer = g_malloc0(len + 1);

    for (gsize cut = 0; cut < len; cut++) {
        g_autofree uint8_t *bytes = g_memdup2(g_bytes_get_data(golden, NULL), cut);
        g_autoptr(GError) error = NULL;

        g_assert_null(slots_parse(bytes, cut, &error));
        g_assert_true(error_is(error, ERROR_INVALID_SECRET));
    }
    memcpy(longer, g_bytes_get_data(golden, NULL), len);
    g_assert_null(slots_parse(longer, len + 1, NULL));
}

static void
test_a_damaged_slot_leaves_the_other_one(void)
{
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_new(master);
    g_autoptr(secret_buf_t) key = slots_fixture_bytes(2, SLOT_KEY_SIZE);
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(slots_t) again = NULL;
    g_autoptr(master_key_t) opened = NULL;
    struct slot *first = slots_fixture_add(slots, "one", 1, master);

    slots_fixture_add(slots, "two", 2, master);
    first->wrapped[0] ^= 1;
    bytes = slots_format(slots, master, NULL);
    again = parse(bytes);
    opened = slots_unwrap(again, again->slots->pdata[1], key, NULL);
    slots_fixture_expect_key(opened, master);
}

static void
test_another_slot_key_does_not_open_and_says_which_slot(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_new(master);
    g_autoptr(secret_buf_t) wrong = slots_fixture_bytes(2, SLOT_KEY_SIZE);
    const struct slot *slot = slots_fixture_add(slots, "paper", 1, master);
    g_autofree char *description = slot_describe(slot);
    g_autofree char *expected = g_strdup_printf(
        "what was given or found does not unlock the %s (or the slot is damaged)", description);

    g_assert_null(slots_unwrap(slots, slot, wrong, &error));
    expect_error(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET, expected);
}

static void
test_a_slot_of_another_master_key_does_not_open(void)
{
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(master_key_t) other = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = slots_new(master);
    g_autoptr(slots_t) others = slots_new(other);
    g_autoptr(secret_buf_t) key = slots_fixture_bytes(1, SLOT_KEY_SIZE);
    const struct slot *moved = slots_fixture_add(others, NULL, 1, other);

    g_assert_null(slots_unwrap(slots, moved, key, NULL));
}

static void
test_a_tag_of_another_key_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) golden = slots_golden_new();
    g_autoptr(master_key_t) other = slots_fixture_other_master(9);

    g_assert_false(slots_authenticate(g_bytes_get_data(golden, NULL), g_bytes_get_size(golden),
                                      other, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                      "it is not as who has the master key wrote it");
}

static void
test_a_newer_format_is_named(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) golden = slots_golden_new();
    gsize len = g_bytes_get_size(golden);
    g_autofree uint8_t *bytes = g_memdup2(g_bytes_get_data(golden, NULL), len);

    bytes[9] = 2;
    g_assert_null(slots_parse(bytes, len, &error));
    expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_SECRET,
                      "use the newer virtcrypt that wrote it");
}

static void
test_methods_and_flags_that_are_not_known_are_kept(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_new(master);
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(slots_t) again = NULL;
    g_autofree char *description = NULL;
    struct slot *slot = slots_fixture_add(slots, NULL, 1, master);
    struct slot *read;

    slot->method = (enum slot_method)77;
    slots->flags = 0x80000001;
    bytes = slots_format(slots, master, NULL);
    again = parse(bytes);
    g_assert_cmpuint(again->flags, ==, 0x80000001);
    read = again->slots->pdata[0];
    description = slot_describe(read);
    g_assert_true(g_str_has_prefix(description, "method-77 slot "));
    g_assert_null(unlock_slot(&(struct unlock_context){0}, again, read, NULL, &error));
    expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_SECRET,
                      "does not know the unlock method 77");
}

static void
expect_name(const struct slots *slots, const char *name, const struct slot *expected)
{
    g_autoptr(GError) error = NULL;
    struct slot *found = slots_find_named(slots, name, &error);

    g_assert_no_error(error);
    g_assert_true(found == expected);
}

static void
refuse_name(const struct slots *slots, const char *name, enum error_code code, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(slots_find_named(slots, name, &error));
    expect_error_part(error, code, ERROR_FROM_SECRET, part);
}

static void
test_slots_are_found_by_uuid_prefix_or_label(void)
{
    g_autoptr(GBytes) golden = slots_golden_new();
    g_autoptr(slots_t) slots = parse(golden);
    g_autoptr(master_key_t) master = slots_fixture_master();
    const struct slot *first = slots->slots->pdata[0];
    struct slot *third;

    expect_name(slots, "disk", first);
    expect_name(slots, "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", first);
    expect_name(slots, "0A1B2C", first);
    expect_name(slots, "0a1b", first);
    expect_name(slots, "f0f1f2f3-f4", slots->slots->pdata[1]);
    refuse_name(slots, "0a1", ERROR_NO_SECRET, "no slot of the master key has the label");
    refuse_name(slots, "", ERROR_NO_SECRET, "no slot of the master key has the label");
    refuse_name(slots, "Disk", ERROR_NO_SECRET, "see 'virtcrypt master status'");
    third = slots_fixture_add(slots, "0a1b", 3, master);
    refuse_name(slots, "0a1b", ERROR_INVALID_ARG, "several slots of the master key fit '0a1b'");
    expect_name(slots, "0a1b2", first);
    g_assert_true(slots_remove(slots, &third->id));
    expect_name(slots, "0a1b", first);
}

static void
test_a_label_is_only_once(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_new(master);

    slots_fixture_add(slots, "paper", 1, master);
    slots_fixture_add(slots, NULL, 2, master);
    slots_fixture_add(slots, NULL, 3, master);
    g_assert_false(slots_put(slots, slot_new(SLOT_RECOVERY, "paper", NULL), &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                 "another slot of the master key has the label 'paper'");
    g_assert_cmpuint(slots->slots->len, ==, 3);
}

static void
test_a_slot_takes_the_place_of_the_one_with_its_id(void)
{
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_new(master);
    struct slot *changed = slot_copy(slots_fixture_add(slots, "one", 1, master));

    slots_fixture_add(slots, "two", 2, master);
    changed->created = 5;
    g_assert_true(slots_put(slots, changed, NULL));
    g_assert_cmpuint(slots->slots->len, ==, 2);
    g_assert_true(slots->slots->pdata[0] == changed);
}

static void
test_no_more_slots_than_the_maximum(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_new(master);
    g_autoptr(GBytes) bytes = NULL;
    g_autoptr(slots_t) again = NULL;

    for (int i = 0; i < SLOTS_MAX; i++)
        slots_fixture_add(slots, NULL, 1, master);
    g_assert_false(slots_put(slots, slot_new(SLOT_RECOVERY, NULL, NULL), &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "which is the maximum");
    bytes = slots_format(slots, master, NULL);
    again = parse(bytes);
    g_assert_cmpuint(again->slots->len, ==, SLOTS_MAX);
}

static void
test_what_could_not_be_read_again_is_not_written(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) master = slots_fixture_master();
    g_autoptr(slots_t) slots = slots_new(master);
    g_autofree char *value = g_strnfill(FIELD_VALUE_MAX, 'v');

    for (int i = 0; i < 16; i++) {
        struct slot *slot = slots_fixture_add(slots, NULL, 1, master);

        for (int j = 0; j < FIELDS_MAX - 1; j++) {
            g_autofree char *name = g_strdup_printf("n%d", j);

            g_assert_true(fields_set(slot->fields, name, value, NULL));
        }
    }
    g_assert_null(slots_format(slots, master, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "remove some first");
}

static void
test_bad_labels_are_refused(void)
{
    static const char *const bad[] = {"a\nb", "\xff", "\x7f"};
    g_autofree char *long_label = g_strnfill(SLOT_LABEL_MAX + 1, 'a');
    g_autoptr(GError) error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_null(slot_new(SLOT_RECOVERY, bad[i], NULL));
    g_assert_null(slot_new(SLOT_RECOVERY, long_label, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, "the label of a slot is a text");
}

static void
test_the_master_key_of_before_opens_by_the_new_one_alone(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(master_key_t) older = slots_fixture_master();
    g_autoptr(master_key_t) newer = slots_fixture_other_master(9);
    g_autoptr(slots_t) slots = slots_new(newer);
    g_autoptr(master_key_t) opened = NULL;

    g_assert_true(slots_set_previous(slots, newer, older, &error));
    opened = slots_open_previous(slots, newer, &error);
    g_assert_no_error(error);
    slots_fixture_expect_key(opened, older);
    g_assert_null(slots_open_previous(slots, older, &error));
    expect_error_part(error, ERROR_INVALID_SECRET, ERROR_FROM_SECRET,
                      "the master key of before, in the file of slots, is damaged");
}

static void
test_names_of_methods_are_those_of_the_table(void)
{
    for (int number = SLOT_KEY_FILE; number <= SLOT_RECOVERY; number++) {
        const struct unlock_method *method = unlock_method_of((enum slot_method)number);

        if (!method)
            continue;
        g_assert_cmpstr(method->name, ==, slot_method_name((enum slot_method)number));
        g_assert_true(unlock_method_named(method->name) == method);
    }
    g_assert_null(unlock_method_named("telepathy"));
    g_assert_null(slot_method_name((enum slot_method)0));
    g_assert_null(slot_method_name((enum slot_method)7));
}

#define ADD(name) g_test_add_func("/master/slots/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(golden_file_is_read);
    ADD(golden_slots_open_and_the_tag_is_right);
    ADD(golden_bytes_are_written_again);
    ADD(a_change_of_any_byte_is_seen_and_gives_no_other_key);
    ADD(every_other_length_is_refused);
    ADD(a_damaged_slot_leaves_the_other_one);
    ADD(another_slot_key_does_not_open_and_says_which_slot);
    ADD(a_slot_of_another_master_key_does_not_open);
    ADD(a_tag_of_another_key_is_refused);
    ADD(a_newer_format_is_named);
    ADD(methods_and_flags_that_are_not_known_are_kept);
    ADD(slots_are_found_by_uuid_prefix_or_label);
    ADD(a_label_is_only_once);
    ADD(a_slot_takes_the_place_of_the_one_with_its_id);
    ADD(no_more_slots_than_the_maximum);
    ADD(what_could_not_be_read_again_is_not_written);
    ADD(bad_labels_are_refused);
    ADD(the_master_key_of_before_opens_by_the_new_one_alone);
    ADD(names_of_methods_are_those_of_the_table);
    return g_test_run();
}
