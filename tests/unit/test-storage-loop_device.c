/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Files as block devices, and that none stays behind. Without loop devices there is nothing to
 * test.
 */
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "luks_fixture.h"
#include "storage/loop_device.h"

enum { MIB = 1024 * 1024 };

static bool
has_loop_devices(void)
{
    if (access("/dev/loop-control", R_OK | W_OK) == 0)
        return true;
    g_test_skip("no loop devices here");
    return false;
}

/* The kernel detaches in a worker of its own. */
static void
expect_detached(const char *path)
{
    for (int i = 0; i < 100; i++) {
        g_autofree char *device = loop_device_find(path);

        if (!device)
            return;
        g_usleep(100 * 1000);
    }
    g_assert_not_reached();
}

static void
test_a_file_is_a_device_until_it_is_cleared(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    g_autofree char *device = NULL;
    g_autoptr(GError) error = NULL;
    uint64_t size = 0;

    if (!has_loop_devices())
        return;
    loop_device_attach(fixture->path, false, &loop, &error);
    g_assert_no_error(error);
    g_assert_cmpint(pwrite(loop.fd, "written", 7, 4096), ==, 7);
    g_assert_cmpint(fsync(loop.fd), ==, 0);
    g_assert_cmpint(ioctl(loop.fd, BLKGETSIZE64, &size), ==, 0);
    g_assert_cmpuint(size, ==, 64 * MIB);
    device = loop_device_find(fixture->path);
    g_assert_cmpstr(device, ==, loop.path);
    loop_device_clear(&loop);
    expect_detached(fixture->path);
    g_assert_true(luks_fixture_run(NULL,
                                   "test \"$(dd if=%s bs=1 skip=4096 count=7 status=none)\" "
                                   "= written",
                                   fixture->path));
}

static void
test_a_second_device_over_one_file_is_refused(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    g_auto(loop_device_t) second = LOOP_DEVICE_NONE;
    g_autoptr(GError) error = NULL;

    if (!has_loop_devices())
        return;
    loop_device_attach(fixture->path, false, &loop, &error);
    g_assert_no_error(error);
    g_assert_false(loop_device_attach(fixture->path, false, &second, &error));
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_STORAGE, "losetup -d /dev/loop");
}

static void
test_a_readonly_device_takes_no_write(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    g_autoptr(GError) error = NULL;
    int is_readonly = 0;

    if (!has_loop_devices())
        return;
    loop_device_attach(fixture->path, true, &loop, &error);
    g_assert_no_error(error);
    g_assert_cmpint(ioctl(loop.fd, BLKROGET, &is_readonly), ==, 0);
    g_assert_cmpint(is_readonly, ==, 1);
}

static void
test_the_device_follows_the_size_of_its_file(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    g_autoptr(GError) error = NULL;
    uint64_t size = 0;

    if (!has_loop_devices())
        return;
    loop_device_attach(fixture->path, false, &loop, &error);
    g_assert_no_error(error);
    g_assert_cmpint(truncate(fixture->path, 96 * MIB), ==, 0);
    loop_device_update_size(fixture->path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(ioctl(loop.fd, BLKGETSIZE64, &size), ==, 0);
    g_assert_cmpuint(size, ==, 96 * MIB);
}

static void
test_a_killed_process_leaves_no_device(struct luks_fixture *fixture, gconstpointer unused)
{
    int pipes[2];
    char byte = 0;
    pid_t child;

    if (!has_loop_devices())
        return;
    g_assert_cmpint(pipe(pipes), ==, 0);
    child = fork();
    if (child == 0) {
        struct loop_device loop = LOOP_DEVICE_NONE;

        byte = loop_device_attach(fixture->path, false, &loop, NULL) ? '+' : '-';
        if (write(pipes[1], &byte, 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    g_assert_cmpint(read(pipes[0], &byte, 1), ==, 1);
    g_assert_true(byte == '+');
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(pipes[0]);
    close(pipes[1]);
    expect_detached(fixture->path);
}

static void
test_a_container_on_a_device_is_formatted(struct luks_fixture *fixture, gconstpointer unused)
{
    const struct luks_format_params params = {.type = LUKS_2, .kdf = LUKS_KDF_FULL_ENTROPY};
    g_auto(loop_device_t) loop = LOOP_DEVICE_NONE;
    g_autoptr(GError) error = NULL;
    struct luks_place place;

    if (!has_loop_devices())
        return;
    loop_device_attach(fixture->path, false, &loop, &error);
    g_assert_no_error(error);
    place = (struct luks_place){.device = loop.path};
    luks_format(&place, &params, fixture->key, &error);
    g_assert_no_error(error);
    g_assert_true(luks_fixture_run(NULL, "cryptsetup open --test-passphrase --key-file %s %s",
                                   fixture->key_path, loop.path));
    luks_erase(&place, &error);
    g_assert_no_error(error);
    g_assert_false(luks_fixture_run(NULL, "cryptsetup isLuks %s", loop.path));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func)                                                                            \
    g_test_add("/storage/loop_device/" path, struct luks_fixture, NULL, luks_fixture_init, func,   \
               luks_fixture_clear)
    ADD("attach", test_a_file_is_a_device_until_it_is_cleared);
    ADD("twice", test_a_second_device_over_one_file_is_refused);
    ADD("readonly", test_a_readonly_device_takes_no_write);
    ADD("size", test_the_device_follows_the_size_of_its_file);
    ADD("killed", test_a_killed_process_leaves_no_device);
    ADD("luks", test_a_container_on_a_device_is_formatted);
    return g_test_run();
}
