/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pools and their policies, by files: libvirt's own for the one, ours for the other.
 */
#include "service_fixture.h"
#include "storage/pools.h"

static void
test_active_pool_is_as_its_file_says(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(pool_def_t) pool =
        storage_pools_get(storage_service_pools(test->service), "images", &error);

    g_assert_no_error(error);
    g_assert_cmpint(pool->type, ==, POOL_TYPE_DIR);
    g_assert_cmpstr(pool->target_path, ==, test->images.path);
}

static void
test_unknown_pool_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(storage_pools_get(storage_service_pools(test->service), "none", &error));
    expect_error(error, ERROR_NO_STORAGE_POOL, ERROR_FROM_STORAGE,
                 "no storage pool with matching name 'none'");
}

/* A pool of that type, whose target is a folder that is not mounted, without a file of its state.
 */
static struct pool_def *
get_configured(struct fixture *test, const char *type, GError **error)
{
    struct storage_pools *pools =
        storage_pools_new(test->guests.path, test->pools.path, test->policies.path);
    struct pool_def *pool;

    fixture_put_pool(test, "images", type);
    pool = storage_pools_get(pools, "images", error);
    storage_pools_free(pools);
    return pool;
}

static void
test_configured_pool_whose_folder_is_there_is_active(struct fixture *test, gconstpointer unused)
{
    for (unsigned int i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(pool_def_t) pool = get_configured(test, i ? "logical" : "dir", &error);

        g_assert_no_error(error);
        g_assert_cmpstr(pool->target_path, ==, test->images.path);
    }
}

static void
test_configured_pool_whose_folder_is_missing_or_not_mounted_is_not_active(struct fixture *test,
                                                                          gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(get_configured(test, "netfs", &error));
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                 "storage pool 'images' is not active");
    g_clear_error(&error);
    g_assert_cmpint(rmdir(test->images.path), ==, 0);
    g_assert_null(get_configured(test, "dir", &error));
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                 "storage pool 'images' is not active");
}

static void
test_name_that_leaves_the_folder_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    enum pool_policy policy;

    g_assert_null(storage_pools_get(storage_service_pools(test->service), "../x", &error));
    g_assert_nonnull(error);
    g_assert_false(
        storage_pools_get_policy(storage_service_pools(test->service), "../x", &policy, NULL));
}

static void
expect_policy(struct fixture *test, enum pool_policy expected)
{
    g_autoptr(GError) error = NULL;
    enum pool_policy policy = POOL_POLICY_LAST;

    storage_pools_get_policy(storage_service_pools(test->service), "images", &policy, &error);
    g_assert_no_error(error);
    g_assert_cmpint(policy, ==, expected);
}

static void
test_policy_is_kept_and_taken_away(struct fixture *test, gconstpointer unused)
{
    struct storage_pools *pools = storage_service_pools(test->service);

    expect_policy(test, POOL_POLICY_NONE);
    g_assert_true(storage_pools_set_policy(pools, "images", POOL_POLICY_DM_CRYPT, NULL));
    expect_policy(test, POOL_POLICY_DM_CRYPT);
    g_assert_true(storage_pools_set_policy(pools, "images", POOL_POLICY_LUKS, NULL));
    expect_policy(test, POOL_POLICY_LUKS);
    g_assert_true(storage_pools_set_policy(pools, "images", POOL_POLICY_NONE, NULL));
    expect_policy(test, POOL_POLICY_NONE);
    g_assert_cmpuint(folder_count(&test->policies), ==, 0);
}

static void
test_policy_that_cannot_be_read_is_never_none(struct fixture *test, gconstpointer unused)
{
    enum pool_policy policy = POOL_POLICY_LAST;
    g_autoptr(GError) error = NULL;

    folder_put_text(&test->policies, "images.xml",
                    "<pool><name>images</name><encrypt policy='soon'/></pool>");
    g_assert_false(
        storage_pools_get_policy(storage_service_pools(test->service), "images", &policy, &error));
    expect_error_part(error, ERROR_INVALID_ARG, ERROR_FROM_STORAGE, "unknown pool policy 'soon'");
    g_assert_cmpint(policy, ==, POOL_POLICY_LAST);
}

static void
test_policy_of_a_pool_of_another_type_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    fixture_put_pool(test, "ceph", "rbd");
    g_assert_false(storage_pools_set_policy(storage_service_pools(test->service), "ceph",
                                            POOL_POLICY_LUKS, &error));
    expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE, "is of type 'rbd'");
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/pools/" path, struct fixture, NULL, fixture_set_up, function,             \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("active", test_active_pool_is_as_its_file_says);
    ADD("unknown", test_unknown_pool_is_refused);
    ADD("configured", test_configured_pool_whose_folder_is_there_is_active);
    ADD("inactive", test_configured_pool_whose_folder_is_missing_or_not_mounted_is_not_active);
    ADD("name", test_name_that_leaves_the_folder_is_refused);
    ADD("policy", test_policy_is_kept_and_taken_away);
    ADD("policy-unreadable", test_policy_that_cannot_be_read_is_never_none);
    ADD("policy-type", test_policy_of_a_pool_of_another_type_is_refused);
    return g_test_run();
}
