/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * LUKS headers of guests' volumes: found and tested with keys, and never changed.
 */
#include "guest/header.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service_fixture.h"
#include "util/file.h"

#define WRONG "not the key"

/* The key and path of a new volume of that format. */
static char *
make(struct fixture *test, const char *format, struct secret_buf **ret_key)
{
    g_autofree char *rest = g_strdup_printf(TARGET("%s", LUKS), format);
    g_autoptr(storage_volume_t) volume = create(test, format, rest);

    *ret_key = key_files_get(&test->keys, &volume->secret, NULL);
    g_assert_nonnull(*ret_key);
    return folder_path(&test->images, format);
}

static void
test_a_key_opens_its_volume_alone(struct fixture *test, gconstpointer unused)
{
    static const char *const formats[] = {"raw", "qcow2"};

    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_autoptr(secret_buf_t) wrong = secret_buf_new_from(WRONG, strlen(WRONG), NULL);
        g_autoptr(secret_buf_t) key = NULL;
        g_autofree char *path = make(test, formats[i], &key);
        g_autofree char *link = folder_path(&test->root, formats[i]);
        g_autoptr(GBytes) before = folder_get(&test->images, formats[i]);
        g_autoptr(GError) error = NULL;
        enum guest_header header;

        g_assert_cmpint(symlink(path, link), ==, 0);
        g_assert_true(guest_header_find(link, formats[i], &header, NULL));
        g_assert_cmpint(header, ==, GUEST_HEADER_LUKS);
        g_assert_true(guest_header_test(link, formats[i], key, &error));
        g_assert_false(guest_header_test(path, formats[i], wrong, &error));
        expect_error_part(error, ERROR_AUTH_FAILED, ERROR_FROM_STORAGE, path);
        folder_expect(&test->images, formats[i], before);
    }
}

static void
expect_failure(const char *path, const char *format, enum error_code code, const char *part)
{
    g_autoptr(secret_buf_t) key = secret_buf_new_from(WRONG, strlen(WRONG), NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(guest_header_test(path, format, key, &error));
    expect_error_part(error, code, ERROR_FROM_STORAGE, part);
}

static void
test_what_has_no_header_is_told_apart(struct fixture *test, gconstpointer unused)
{
    g_autofree char *clear = folder_path(&test->images, "clear");
    g_autofree char *none = folder_path(&test->images, "none");
    enum guest_header header;

    folder_put_text(&test->images, "clear", "some bytes of a guest");
    g_assert_true(guest_header_find(clear, NULL, &header, NULL));
    g_assert_cmpint(header, ==, GUEST_HEADER_CLEAR);
    g_assert_true(guest_header_find(none, "qcow2", &header, NULL));
    g_assert_cmpint(header, ==, GUEST_HEADER_NONE);
    expect_failure(clear, "raw", ERROR_CONFIG_UNSUPPORTED, "is not encrypted with LUKS");
    expect_failure(none, "raw", ERROR_NO_STORAGE_VOL, "there is no");
    expect_failure(clear, "qcow2", ERROR_OPERATION_INVALID, "is not a qcow2 image");
    expect_failure(test->images.path, "raw", ERROR_OPERATION_INVALID, "neither a file nor");
}

/* To open some devices is to do something: a watchdog resets the host when it is not fed. */
static void
test_what_is_no_image_is_not_opened(struct fixture *test, gconstpointer unused)
{
    g_autofree char *fifo = folder_path(&test->images, "fifo");
    g_auto(file_fd) watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    char events[1024];

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    g_assert_cmpint(inotify_add_watch(watch, fifo, IN_OPEN), >=, 0);
    expect_failure(fifo, "raw", ERROR_OPERATION_INVALID, "neither a file nor");
    g_assert_cmpint(read(watch, events, sizeof(events)), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name)                                                                                 \
    g_test_add("/guest/header/" #name, struct fixture, NULL, fixture_set_up, test_##name,          \
               fixture_tear_down)
    TEST(a_key_opens_its_volume_alone);
    TEST(what_has_no_header_is_told_apart);
    TEST(what_is_no_image_is_not_opened);
    return g_test_run();
}
