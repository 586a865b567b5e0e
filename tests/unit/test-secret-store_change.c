/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A change as a journal record: golden bytes, both directions, and refusals.
 */
#include "store_fixture.h"

static void
test_bytes_are_as_the_manual_draws_them(void)
{
    static const uint8_t expected[] = {
        1,    2,    0,    0,    0,    0,    0,    0,                /* what, reserved */
        0xaa, 0xaa, 0xaa, 0xaa, 0x00, 0x00, 0x40, 0x00,             /* uuid */
        0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0, 0, 0, 4, /* XML's length */
        0,    0,    0,    0,                                        /* value's length */
        '<',  'a',  '/',  '>',
    };
    struct store_change change = change_of(A, "<a/>", "");
    g_autoptr(GBytes) record = store_change_format(&change);

    g_assert_cmpmem(g_bytes_get_data(record, NULL), g_bytes_get_size(record), expected,
                    sizeof(expected));
    store_change_clear(&change);
}

static void
test_record_of_a_change_is_read_back(void)
{
    struct store_change change = change_of(A, "<a/>", "");
    g_autoptr(GBytes) record = store_change_format(&change);
    g_auto(store_change_t) parsed = {0};

    g_assert_cmpuint(g_bytes_get_size(record), ==, store_change_record_size(&change));
    g_assert_true(
        store_change_parse(g_bytes_get_data(record, NULL), g_bytes_get_size(record), &parsed));
    g_assert_true(uuid_equal(&parsed.uuid, &change.uuid));
    g_assert_cmpint(parsed.xml_action, ==, STORE_WRITE);
    g_assert_true(g_bytes_equal(parsed.xml, change.xml));
    g_assert_cmpint(parsed.key_action, ==, STORE_REMOVE);
    g_assert_null(parsed.key);
    store_change_clear(&change);
}

static void
test_malformed_records_are_refused(void)
{
    struct store_change change = change_of(A, "<a/>", "sealed");
    g_autoptr(GBytes) record = store_change_format(&change);
    gsize len = 0;
    const uint8_t *bytes = g_bytes_get_data(record, &len);
    struct store_change parsed = {0};

    for (gsize cut = 0; cut < len; cut++)
        g_assert_false(store_change_parse(bytes, cut, &parsed));
    for (gsize at = 0; at < STORE_CHANGE_HEAD_SIZE; at++) {
        g_autofree uint8_t *spoilt = g_memdup2(bytes, len);
        bool is_uuid = at >= 8 && at < 24;

        if (is_uuid)
            continue;
        spoilt[at] ^= 0x80;
        g_assert_false(store_change_parse(spoilt, len, &parsed));
    }
    store_change_clear(&change);
}

static struct store_change
owned_change(void)
{
    struct store_change change = change_of(A, NULL, "");
    g_autoptr(GBytes) key = g_bytes_new_static("copy", 4);
    struct uuid guest;

    g_assert_true(uuid_parse(B, &guest));
    store_change_add_owner(&change, &guest, STORE_WRITE, key);
    g_assert_true(uuid_parse(C, &guest));
    store_change_add_owner(&change, &guest, STORE_REMOVE, NULL);
    change.audit = g_strdup("\"id\":\"" A "\"");
    return change;
}

static void
test_guests_copies_and_audit_are_as_the_manual_draws_them(void)
{
    static const uint8_t head[] =
        {
            0,    2,    0,    2,    0,    0,    0,    43, /* what, two copies, audit's length */
            0xaa, 0xaa, 0xaa, 0xaa, 0x00, 0x00, 0x40, 0x00, 0x80, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x01, 0,    0,    0,    0,    0,    0,
            0,    0,    0xbb, 0xbb, 0xbb, 0xbb, 0x00, 0x00, 0x40, 0x00, /* the first guest */
            0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 1,    0,    0,
            0,    0,    0,    0,    4,    'c',  'o',  'p',  'y',  0xcc, 0xcc,
            0xcc, 0xcc, 0x00, 0x00, 0x40, 0x00, /* the second one */
            0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 2,    0,    0,
            0,    0,    0,    0,    0,
        };
    g_auto(store_change_t) change = owned_change();
    g_autoptr(GBytes) record = store_change_format(&change);
    gsize len = 0;
    const char *bytes = g_bytes_get_data(record, &len);

    g_assert_cmpuint(len, ==, sizeof(head) + 43);
    g_assert_cmpuint(len, ==, store_change_record_size(&change));
    g_assert_cmpmem(bytes, sizeof(head), head, sizeof(head));
    g_assert_cmpmem(bytes + sizeof(head), 43, change.audit, 43);
}

static void
test_guests_copies_and_audit_are_read_back(void)
{
    g_auto(store_change_t) change = owned_change();
    g_auto(store_change_t) parsed = {0};
    g_autoptr(GBytes) record = store_change_format(&change);

    g_assert_true(
        store_change_parse(g_bytes_get_data(record, NULL), g_bytes_get_size(record), &parsed));
    g_assert_cmpint(parsed.key_action, ==, STORE_REMOVE);
    g_assert_cmpuint(store_change_owner_count(&parsed), ==, 2);
    for (guint i = 0; i < 2; i++) {
        const struct store_owner_change *owner = store_change_owner(&parsed, i);
        const struct store_owner_change *expected = store_change_owner(&change, i);

        g_assert_true(uuid_equal(&owner->guest, &expected->guest));
        g_assert_cmpint(owner->action, ==, expected->action);
        g_assert_true(owner->key == expected->key || g_bytes_equal(owner->key, expected->key));
    }
    g_assert_cmpstr(parsed.audit, ==, change.audit);
}

/* The uuids may be any; all else is counted or has few values. */
static void
test_malformed_copies_and_audits_are_refused(void)
{
    enum { FIRST_AT = STORE_CHANGE_HEAD_SIZE, SECOND_AT = FIRST_AT + STORE_CHANGE_OWNER_SIZE + 4 };
    g_auto(store_change_t) change = owned_change();
    g_autoptr(GBytes) record = store_change_format(&change);
    struct store_change parsed = {0};
    gsize len = 0;
    const uint8_t *bytes = g_bytes_get_data(record, &len);
    g_autofree uint8_t *twice = g_memdup2(bytes, len);

    for (gsize cut = 0; cut < len; cut++)
        g_assert_false(store_change_parse(bytes, cut, &parsed));
    for (gsize at = 0; at < len; at++) {
        g_autofree uint8_t *spoilt = g_memdup2(bytes, len);
        bool is_free = (at >= 8 && at < 24) || (at >= FIRST_AT && at < FIRST_AT + 16) ||
                       (at >= SECOND_AT - 4 && at < SECOND_AT + 16) ||
                       at >= SECOND_AT + STORE_CHANGE_OWNER_SIZE;

        spoilt[at] ^= 0x80;
        if (!is_free)
            g_assert_false(store_change_parse(spoilt, len, &parsed));
    }
    memcpy(twice + SECOND_AT, twice + FIRST_AT, 16);
    g_assert_false(store_change_parse(twice, len, &parsed));
    twice[SECOND_AT] ^= 1;
    twice[SECOND_AT + STORE_CHANGE_OWNER_SIZE] = '\n';
    g_assert_false(store_change_parse(twice, len, &parsed));
}

static void
test_more_owners_than_the_maximum_are_refused(void)
{
    g_auto(store_change_t) change = change_of(A, NULL, NULL);
    g_autoptr(GError) error = NULL;

    for (unsigned int i = 0; i <= STORE_OWNERS_MAX; i++) {
        struct uuid guest = {{(uint8_t)(i >> 8), (uint8_t)i}};

        if (i == STORE_OWNERS_MAX)
            g_assert_true(store_change_check(&change, NULL));
        store_change_add_owner(&change, &guest, STORE_REMOVE, NULL);
    }
    g_assert_false(store_change_check(&change, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                 "secret " A " would have the copies of 1025 guests changed at once, more than the "
                 "maximum of 1024");
}

static void
test_a_guests_copy_that_is_too_large_is_refused(void)
{
    g_auto(store_change_t) change = change_of(A, NULL, NULL);
    g_autofree char *text = g_strnfill(STORE_KEY_MAX + 1, 'k');
    g_autoptr(GBytes) key = g_bytes_new(text, STORE_KEY_MAX + 1);
    g_autoptr(GError) error = NULL;
    struct uuid guest = {{1}};

    store_change_add_owner(&change, &guest, STORE_WRITE, key);
    g_assert_false(store_change_check(&change, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET,
                      "a guest's copy of the sealed value of secret " A " has 66049 bytes");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/secret/store_change/bytes_are_as_the_manual_draws_them",
                    test_bytes_are_as_the_manual_draws_them);
    g_test_add_func("/secret/store_change/record_of_a_change_is_read_back",
                    test_record_of_a_change_is_read_back);
    g_test_add_func("/secret/store_change/malformed_records_are_refused",
                    test_malformed_records_are_refused);
    g_test_add_func("/secret/store_change/guests_copies_and_audit_are_as_the_manual_draws_them",
                    test_guests_copies_and_audit_are_as_the_manual_draws_them);
    g_test_add_func("/secret/store_change/guests_copies_and_audit_are_read_back",
                    test_guests_copies_and_audit_are_read_back);
    g_test_add_func("/secret/store_change/malformed_copies_and_audits_are_refused",
                    test_malformed_copies_and_audits_are_refused);
    g_test_add_func("/secret/store_change/more_owners_than_the_maximum_are_refused",
                    test_more_owners_than_the_maximum_are_refused);
    g_test_add_func("/secret/store_change/a_guests_copy_that_is_too_large_is_refused",
                    test_a_guests_copy_that_is_too_large_is_refused);
    return g_test_run();
}
