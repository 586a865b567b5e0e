/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Creating volumes: what is ours, whose key, what is refused, and what a failure leaves.
 */
#include "service_fixture.h"

static void
test_generated_key_opens_the_image(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) raw = create(test, "raw", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) qcow2 = create(test, "qcow2", TARGET("qcow2", LUKS));

    g_assert_true(raw->secret_is_generated);
    g_assert_cmpint(raw->kind, ==, VOLUME_KIND_RAW);
    g_assert_cmpint(qcow2->kind, ==, VOLUME_KIND_QCOW2);
    g_assert_true(qemu_opens(test, "raw", "raw", &raw->secret));
    g_assert_true(qemu_opens(test, "qcow2", "qcow2", &qcow2->secret));
    g_assert_false(uuid_equal(&raw->secret, &qcow2->secret));
    g_assert_cmpuint(folder_count(&test->images), ==, 2);
}

static void
test_deleted_volume_leaves_nothing(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) volume = create(test, "raw", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) other = create(test, "qcow2", TARGET("qcow2", LUKS));

    delete_volume(test, "raw");
    delete_volume(test, "qcow2");
    expect_nothing(test);
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/service_create/" path, struct fixture, NULL, fixture_set_up, function,    \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("generated-key", test_generated_key_opens_the_image);
    ADD("deleted", test_deleted_volume_leaves_nothing);
    return g_test_run();
}
