/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * UUID text as libvirt reads and writes it, random UUIDs, keys of hash tables.
 */
#include "expect.h"
#include "util/uuid.h"

#define CANONICAL "d9a3c9a0-1111-4222-8333-444455556666"

static void
test_accepted_forms_have_one_meaning(void)
{
    static const char *const forms[] = {
        CANONICAL,
        "D9A3C9A0-1111-4222-8333-444455556666",
        "d9a3c9a0111142228333444455556666",
        " \t\r\nd9a3c9a0-1111-4222-8333-444455556666 \n",
        "d9 a3 c9 a0 11 11 42 22 83 33 44 44 55 55 66 66",
        "--d9a3c9a0--1111-4222-8333-444455556666",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        struct uuid uuid;
        char text[UUID_TEXT_SIZE];

        g_assert_true(uuid_parse(forms[i], &uuid));
        g_assert_cmpstr(uuid_format(&uuid, text), ==, CANONICAL);
    }
}

static void
test_anything_else_is_refused_and_changes_nothing(void)
{
    static const char *const forms[] = {
        "",
        " ",
        "d",
        "d9a3c9a0-1111-4222-8333-44445555666",
        "d9a3c9a0-1111-4222-8333-4444555566667",
        CANONICAL "-",
        CANONICAL " x",
        "g9a3c9a0-1111-4222-8333-444455556666",
        "d-9a3c9a0-1111-4222-8333-444455556666",
        "{" CANONICAL "}",
        "d9a3c9a0_1111_4222_8333_444455556666",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        struct uuid uuid = {.bytes = {7}};

        if (uuid_parse(forms[i], &uuid))
            g_error("'%s' was taken", forms[i]);
        g_assert_cmpint(uuid.bytes[0], ==, 7);
    }
}

static void
test_random_uuids_are_version_4_and_differ(void)
{
    struct uuid last = {0};

    for (int i = 0; i < 100; i++) {
        struct uuid uuid;

        g_assert_true(uuid_generate_random(&uuid, NULL));
        g_assert_cmpint(uuid.bytes[6] >> 4, ==, 4);
        g_assert_cmpint(uuid.bytes[8] >> 6, ==, 2);
        g_assert_false(uuid_equal(&uuid, &last));
        last = uuid;
    }
}

static void
test_a_hash_table_finds_by_content(void)
{
    g_autoptr(GHashTable) table = g_hash_table_new(uuid_hash_key, uuid_equal_key);
    struct uuid a;
    struct uuid b;
    struct uuid other;

    g_assert_true(uuid_parse(CANONICAL, &a));
    g_assert_true(uuid_parse(CANONICAL, &b));
    other = a;
    other.bytes[15] ^= 1;
    g_hash_table_add(table, &a);
    g_assert_true(g_hash_table_contains(table, &b));
    g_assert_false(g_hash_table_contains(table, &other));
}

static void
test_every_byte_counts_for_the_hash(void)
{
    struct uuid uuid = {0};
    guint zero = uuid_hash_key(&uuid);

    for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
        uuid.bytes[i] = 1;
        g_assert_cmpuint(uuid_hash_key(&uuid), !=, zero);
        uuid.bytes[i] = 0;
    }
}

static void
test_the_order_is_that_of_bytes(void)
{
    struct uuid low = {{0, 255, 255}};
    struct uuid high = {{0x80}};

    g_assert_cmpint(uuid_compare(&low, &high), <, 0);
    g_assert_cmpint(uuid_compare(&high, &low), >, 0);
    g_assert_cmpint(uuid_compare(&low, &low), ==, 0);
}

#define ADD(name) g_test_add_func("/util/uuid/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(accepted_forms_have_one_meaning);
    ADD(anything_else_is_refused_and_changes_nothing);
    ADD(random_uuids_are_version_4_and_differ);
    ADD(a_hash_table_finds_by_content);
    ADD(every_byte_counts_for_the_hash);
    ADD(the_order_is_that_of_bytes);
    return g_test_run();
}
