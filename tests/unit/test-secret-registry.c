/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The registry: what is added is found by uuid, by usage and in order, and nothing else is.
 */
#include "expect.h"
#include "secret/registry.h"

enum { MANY = 2000 };

struct fixture {
    struct registry *registry;
};

static void
set_up(struct fixture *test, gconstpointer unused)
{
    test->registry = registry_new();
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    registry_free(test->registry);
}

/* A uuid that is not in the order of numbers. */
static struct uuid
uuid_of_number(unsigned int number)
{
    struct uuid uuid = {{0}};

    uuid.bytes[0] = (uint8_t)(number * 167);
    uuid.bytes[1] = (uint8_t)(number >> 8);
    uuid.bytes[15] = (uint8_t)number;
    return uuid;
}

static struct secret_def *
new_def(unsigned int number, enum secret_usage_type type, const char *usage_id)
{
    struct secret_def *def = g_new0(struct secret_def, 1);

    def->uuid = uuid_of_number(number);
    def->usage_type = type;
    def->usage_id = g_strdup(usage_id);
    return def;
}

static struct secret *
add(struct fixture *test, unsigned int number, enum secret_usage_type type, const char *usage_id)
{
    return registry_add(test->registry, new_def(number, type, usage_id));
}

static void
add_many(struct fixture *test)
{
    for (unsigned int i = 0; i < MANY; i++) {
        g_autofree char *usage_id = g_strdup_printf("/v/%u", i);

        add(test, i, SECRET_USAGE_VOLUME, usage_id);
    }
}

static void
test_empty_registry_has_nothing(struct fixture *test, gconstpointer unused)
{
    struct uuid uuid = uuid_of_number(1);
    g_autoptr(GPtrArray) page = registry_page(test->registry, NULL, 10);

    g_assert_null(registry_find(test->registry, &uuid));
    g_assert_null(registry_find_usage(test->registry, SECRET_USAGE_VOLUME, "/v"));
    g_assert_cmpuint(registry_count(test->registry), ==, 0);
    g_assert_cmpuint(page->len, ==, 0);
}

static void
test_all_of_many_are_found(struct fixture *test, gconstpointer unused)
{
    add_many(test);
    g_assert_cmpuint(registry_count(test->registry), ==, MANY);
    for (unsigned int i = 0; i < MANY; i++) {
        struct uuid uuid = uuid_of_number(i);
        g_autofree char *usage_id = g_strdup_printf("/v/%u", i);
        const struct secret *secret = registry_find(test->registry, &uuid);

        g_assert_nonnull(secret);
        g_assert_cmpstr(secret->def->usage_id, ==, usage_id);
        g_assert_true(registry_find_usage(test->registry, SECRET_USAGE_VOLUME, usage_id) == secret);
        g_assert_null(registry_find_usage(test->registry, SECRET_USAGE_CEPH, usage_id));
    }
}

static void
test_usage_none_is_not_found_by_usage(struct fixture *test, gconstpointer unused)
{
    add(test, 1, SECRET_USAGE_NONE, NULL);
    add(test, 2, SECRET_USAGE_NONE, NULL);
    g_assert_cmpuint(registry_count(test->registry), ==, 2);
    g_assert_null(registry_find_usage(test->registry, SECRET_USAGE_NONE, ""));
}

static void
test_removed_secret_is_found_no_more(struct fixture *test, gconstpointer unused)
{
    struct uuid uuid = uuid_of_number(7);

    add_many(test);
    registry_remove(test->registry, registry_find(test->registry, &uuid));
    g_assert_null(registry_find(test->registry, &uuid));
    g_assert_null(registry_find_usage(test->registry, SECRET_USAGE_VOLUME, "/v/7"));
    g_assert_cmpuint(registry_count(test->registry), ==, MANY - 1);
    add(test, 7, SECRET_USAGE_VOLUME, "/v/7");
    g_assert_nonnull(registry_find(test->registry, &uuid));
}

static void
test_redefined_secret_moves_to_its_new_usage(struct fixture *test, gconstpointer unused)
{
    struct secret *secret = add(test, 1, SECRET_USAGE_VOLUME, "a");
    struct uuid uuid = uuid_of_number(1);

    registry_redefine(test->registry, secret, new_def(1, SECRET_USAGE_CEPH, "a"));
    g_assert_true(registry_find(test->registry, &uuid) == secret);
    g_assert_true(registry_find_usage(test->registry, SECRET_USAGE_CEPH, "a") == secret);
    g_assert_null(registry_find_usage(test->registry, SECRET_USAGE_VOLUME, "a"));
    registry_redefine(test->registry, secret, new_def(1, SECRET_USAGE_NONE, NULL));
    g_assert_null(registry_find_usage(test->registry, SECRET_USAGE_CEPH, "a"));
}

static void
test_ephemeral_ones_are_counted(struct fixture *test, gconstpointer unused)
{
    struct secret_def *ephemeral = new_def(1, SECRET_USAGE_VOLUME, "a");
    struct secret *secret;

    ephemeral->is_ephemeral = true;
    secret = registry_add(test->registry, ephemeral);
    add(test, 2, SECRET_USAGE_VOLUME, "b");
    g_assert_cmpuint(registry_count_ephemeral(test->registry), ==, 1);
    registry_redefine(test->registry, secret, new_def(1, SECRET_USAGE_VOLUME, "a"));
    g_assert_cmpuint(registry_count_ephemeral(test->registry), ==, 0);
    ephemeral = new_def(1, SECRET_USAGE_VOLUME, "a");
    ephemeral->is_ephemeral = true;
    registry_redefine(test->registry, secret, ephemeral);
    registry_remove(test->registry, secret);
    g_assert_cmpuint(registry_count_ephemeral(test->registry), ==, 0);
}

/* Pages of `max` from start to end hold every secret once, in the order of uuids. */
static void
expect_pages_hold_all(struct fixture *test, size_t max)
{
    struct uuid last = {{0}};
    const struct uuid *after = NULL;
    size_t seen = 0;
    guint len;

    do {
        g_autoptr(GPtrArray) page = registry_page(test->registry, after, max);

        len = page->len;
        g_assert_cmpuint(len, <=, max);
        for (guint i = 0; i < len; i++) {
            const struct secret *secret = g_ptr_array_index(page, i);

            g_assert_true(seen == 0 || memcmp(last.bytes, secret->def->uuid.bytes, 16) < 0);
            last = secret->def->uuid;
            after = &last;
            seen++;
        }
    } while (len > 0);
    g_assert_cmpuint(seen, ==, registry_count(test->registry));
}

static void
test_pages_hold_all_in_order(struct fixture *test, gconstpointer unused)
{
    add_many(test);
    expect_pages_hold_all(test, 1);
    expect_pages_hold_all(test, 7);
    expect_pages_hold_all(test, MANY);
    expect_pages_hold_all(test, MANY + 1);
}

static void
test_page_goes_on_after_a_secret_that_is_gone(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GPtrArray) before = NULL;
    g_autoptr(GPtrArray) after = NULL;
    struct secret *first;
    struct uuid uuid;

    add_many(test);
    before = registry_page(test->registry, NULL, 2);
    first = g_ptr_array_index(before, 0);
    uuid = first->def->uuid;
    registry_remove(test->registry, first);
    after = registry_page(test->registry, &uuid, 1);
    g_assert_true(g_ptr_array_index(after, 0) == g_ptr_array_index(before, 1));
}

static bool
stop_at_third(const struct secret *secret, void *opaque)
{
    unsigned int *calls = opaque;

    return ++*calls < 3;
}

static void
test_foreach_stops_when_told(struct fixture *test, gconstpointer unused)
{
    unsigned int calls = 0;

    add_many(test);
    registry_foreach(test->registry, stop_at_third, &calls);
    g_assert_cmpuint(calls, ==, 3);
}

static void
test_replaced_value_is_moved(struct fixture *test, gconstpointer unused)
{
    struct secret *secret = add(test, 1, SECRET_USAGE_NONE, NULL);
    g_auto(secret_value_t) value = {.sealed = g_bytes_new_static("new", 3), .generation = 2};

    secret->value.unavailable = g_strdup("was damaged");
    secret_value_replace(&secret->value, &value);
    g_assert_null(secret->value.unavailable);
    g_assert_cmpuint(secret->value.generation, ==, 2);
    g_assert_null(value.sealed);
}

#define ADD(name)                                                                                  \
    g_test_add("/secret/registry/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(empty_registry_has_nothing);
    ADD(all_of_many_are_found);
    ADD(usage_none_is_not_found_by_usage);
    ADD(removed_secret_is_found_no_more);
    ADD(redefined_secret_moves_to_its_new_usage);
    ADD(ephemeral_ones_are_counted);
    ADD(pages_hold_all_in_order);
    ADD(page_goes_on_after_a_secret_that_is_gone);
    ADD(foreach_stops_when_told);
    ADD(replaced_value_is_moved);
    return g_test_run();
}
