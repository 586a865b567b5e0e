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
    return g_test_run();
}
