/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "secret/owners.h"

static struct uuid
guest(uint8_t number)
{
    return (struct uuid){{number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
}

static GArray *
owners_of(const uint8_t *numbers, guint count)
{
    GArray *owners = NULL;

    for (guint i = 0; i < count; i++) {
        struct uuid uuid = guest(numbers[i]);

        owners_add(&owners, &uuid);
    }
    return owners;
}

static void
test_guests_stand_in_order_and_once(void)
{
    const uint8_t numbers[] = {5, 200, 1, 5, 3, 200};
    const uint8_t sorted[] = {1, 3, 5, 200};
    g_autoptr(owners_t) owners = owners_of(numbers, G_N_ELEMENTS(numbers));

    g_assert_cmpuint(owners_count(owners), ==, G_N_ELEMENTS(sorted));
    for (guint i = 0; i < G_N_ELEMENTS(sorted); i++)
        g_assert_cmpuint(owners_at(owners, i)->bytes[0], ==, sorted[i]);
}

static void
test_who_is_in_is_found(void)
{
    const uint8_t numbers[] = {1, 3, 5};
    g_autoptr(owners_t) owners = owners_of(numbers, G_N_ELEMENTS(numbers));

    for (uint8_t number = 0; number < 7; number++) {
        struct uuid uuid = guest(number);

        g_assert_cmpint(owners_has(owners, &uuid), ==, number % 2 == 1 && number <= 5);
        g_assert_cmpuint(owners_count_until(owners, &uuid), ==, MIN((number + 1u) / 2, 3));
        g_assert_false(owners_has(NULL, &uuid));
    }
}

static void
test_the_last_one_that_goes_leaves_nothing(void)
{
    const uint8_t numbers[] = {1, 3};
    GArray *owners = owners_of(numbers, G_N_ELEMENTS(numbers));
    struct uuid one = guest(1);
    struct uuid two = guest(2);
    struct uuid three = guest(3);

    owners_remove(&owners, &two);
    g_assert_cmpuint(owners_count(owners), ==, 2);
    owners_remove(&owners, &one);
    g_assert_false(owners_has(owners, &one));
    g_assert_true(owners_has(owners, &three));
    owners_remove(&owners, &three);
    g_assert_null(owners);
    owners_remove(&owners, &three);
    g_assert_null(owners_copy(owners));
}

static void
test_a_copy_is_another_set(void)
{
    const uint8_t numbers[] = {1};
    g_autoptr(owners_t) owners = owners_of(numbers, 1);
    GArray *copy = owners_copy(owners);
    struct uuid one = guest(1);

    owners_remove(&copy, &one);
    g_assert_null(copy);
    g_assert_true(owners_has(owners, &one));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/secret/owners/order", test_guests_stand_in_order_and_once);
    g_test_add_func("/secret/owners/find", test_who_is_in_is_found);
    g_test_add_func("/secret/owners/remove", test_the_last_one_that_goes_leaves_nothing);
    g_test_add_func("/secret/owners/copy", test_a_copy_is_another_set);
    return g_test_run();
}
