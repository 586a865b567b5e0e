/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: loop_device.h.
 */
#include "storage/loop_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/luks_context.h"
#include "util/error.h"
#include "util/file.h"

enum {
    ATTACH_TRIES = 64, /* others take free devices too */
    DETACH_WAITS = 20, /* of a device whose last user has just gone */
    DETACH_WAIT_US = 100 * 1000,
    DIRECT_BLOCK = 4096,
};
static const char control_path[] = "/dev/loop-control";
static const char block_dir[] = "/sys/block";

void
loop_device_clear(struct loop_device *loop)
{
    if (loop->fd >= 0)
        close(loop->fd);
    loop->fd = -1;
    loop->path[0] = '\0';
}

/* Whether the loop device `path` is attached to that very file. */
static bool
is_attached_to(const char *path, const struct stat *file)
{
    g_auto(file_fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct loop_info64 info;

    return fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == file->st_dev &&
           info.lo_inode == file->st_ino;
}

static char *
find_by_stat(const struct stat *file)
{
    g_autoptr(GDir) dir = g_dir_open(block_dir, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *attached = g_build_filename(block_dir, name, "loop", NULL);
        g_autofree char *path = g_build_filename("/dev", name, NULL);

        if (g_str_has_prefix(name, "loop") && g_file_test(attached, G_FILE_TEST_IS_DIR) &&
            is_attached_to(path, file))
            return g_steal_pointer(&path);
    }
    return NULL;
}

char *
loop_device_find(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? find_by_stat(&info) : NULL;
}

/* A file in two loop devices has two caches that know nothing of one another. */
static bool
check_free(const char *path, int fd, GError **error)
{
    g_autofree char *device = NULL;
    struct stat info;

    if (fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot examine '%s'", path);
        return false;
    }
    for (unsigned int i = 0; i < DETACH_WAITS; i++) {
        g_free(device);
        device = find_by_stat(&info);
        if (!device)
            return true;
        g_usleep(DETACH_WAIT_US);
    }
    error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
              "'%s' is in use as %s: detach that with 'losetup -d %s'", path, device, device);
    return false;
}

/* One try: the device that the kernel names as free. False with errno: EBUSY if somebody else was
 * faster. */
static bool
attach_free(int control_fd, const struct loop_config *config, struct loop_device *ret_loop)
{
    int number = ioctl(control_fd, LOOP_CTL_GET_FREE);
    g_auto(file_fd) fd = -1;

    if (number < 0)
        return false;
    g_snprintf(ret_loop->path, sizeof(ret_loop->path), "/dev/loop%d", number);
    fd = open(ret_loop->path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, config) < 0)
        return false;
    ret_loop->fd = fd;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) not to be closed: it was given out */
    fd = -1;
    return true;
}

/* Some file systems (overlays) say that they can, and fail each read: so one is tried. */
static bool
can_read_directly(const char *path)
{
    g_auto(file_fd) fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
    void *block = NULL;
    bool can;

    if (fd < 0 || posix_memalign(&block, DIRECT_BLOCK, DIRECT_BLOCK) != 0)
        return false;
    can = pread(fd, block, DIRECT_BLOCK, 0) >= 0;
    free(block);
    return can;
}

bool
loop_device_attach(const char *path, bool readonly, struct loop_device *ret_loop, GError **error)
{
    g_auto(file_fd) fd = luks_context_open_file(path, readonly ? O_RDONLY : O_RDWR, error);
    g_auto(file_fd) control_fd = -1;
    struct loop_device loop = LOOP_DEVICE_NONE;
    struct loop_config config = {.info.lo_flags = LO_FLAGS_AUTOCLEAR};

    if (fd < 0 || !check_free(path, fd, error))
        return false;
    config.fd = (uint32_t)fd;
    if (can_read_directly(path))
        config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
    if (readonly)
        config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    g_strlcpy((char *)config.info.lo_file_name, path, sizeof(config.info.lo_file_name));
    control_fd = open(control_path, O_RDWR | O_CLOEXEC);
    if (control_fd < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno,
                        "cannot open '%s' (is the kernel module 'loop' there?)", control_path);
        return false;
    }
    for (unsigned int i = 0; i < ATTACH_TRIES; i++) {
        if (attach_free(control_fd, &config, &loop)) {
            *ret_loop = loop;
            return true;
        }
        if (errno != EBUSY)
            break;
    }
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot attach '%s' to a loop device", path);
    return false;
}

bool
loop_device_update_size(const char *path, GError **error)
{
    g_autofree char *device = loop_device_find(path);
    g_auto(file_fd) fd = -1;

    if (!device)
        return true;
    fd = open(device, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, LOOP_SET_CAPACITY) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot tell %s the new size of '%s'", device,
                    path);
    return false;
}
