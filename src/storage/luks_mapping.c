/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which device-mapper devices there are, and their end. What is open is read from /sys: the
 * kernel's table would hold the volume key of a LUKS1 or plain mapping in clear. The few requests
 * to device-mapper that libcryptsetup has no call for go to the kernel directly, because
 * libdevmapper has one log function for the process, which libcryptsetup sets.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "storage/luks_context.h"
#include "storage/luks_mapping.h"
#include "util/error.h"
#include "util/file.h"

enum {
    SECTOR = 512,
    BUSY_WAITS = 10, /* udev may be looking at a device for a moment */
    BUSY_WAIT_US = 100 * 1000,
};
static const char block_dir[] = "/sys/block";
static const char mapper_dir[] = "/dev/mapper";
static const char dm_control[] = "/dev/mapper/control";

void
luks_mapping_clear(struct luks_mapping *mapping)
{
    g_clear_pointer(&mapping->device, g_free);
}

/* The first line of a file of a block device in /sys, or NULL. */
static char *
read_attribute(const char *block, const char *attribute)
{
    g_autofree char *path = g_build_filename(block_dir, block, attribute, NULL);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return NULL;
    return g_strndup(text, strcspn(text, "\n"));
}

/* The kernel's name ("dm-3") of the mapping, or NULL. */
static char *
find_block(const char *name)
{
    g_autoptr(GDir) dir = g_dir_open(block_dir, 0, NULL);
    const char *block;

    while (dir && (block = g_dir_read_name(dir))) {
        g_autofree char *present =
            g_str_has_prefix(block, "dm-") ? read_attribute(block, "dm/name") : NULL;

        if (g_strcmp0(present, name) == 0)
            return g_strdup(block);
    }
    return NULL;
}

/* The kernel's name of the block device below, or NULL. */
static char *
find_slave(const char *block)
{
    g_autofree char *path = g_build_filename(block_dir, block, "slaves", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *slave = dir ? g_dir_read_name(dir) : NULL;

    return g_strdup(slave);
}

/* What the mapping `block` lies on, below an integrity layer of its own ("NAME_dif"). */
static char *
find_container(const char *block, const char *name)
{
    g_autofree char *layer = g_strconcat(name, "_dif", NULL);
    g_autofree char *slave = find_slave(block);
    g_autofree char *slave_name = slave ? read_attribute(slave, "dm/name") : NULL;

    if (g_strcmp0(slave_name, layer) == 0) {
        g_autofree char *below = find_slave(slave);

        return below ? g_build_filename("/dev", below, NULL) : NULL;
    }
    return slave ? g_build_filename("/dev", slave, NULL) : NULL;
}

bool
luks_find_mapping(const char *name, struct luks_mapping *ret_mapping, GError **error)
{
    g_autofree char *block = find_block(name);
    g_autofree char *sectors = block ? read_attribute(block, "size") : NULL;
    g_autofree char *readonly = block ? read_attribute(block, "ro") : NULL;

    memset(ret_mapping, 0, sizeof(*ret_mapping));
    if (!block)
        return true;
    ret_mapping->device = find_container(block, name);
    ret_mapping->size = sectors ? g_ascii_strtoull(sectors, NULL, 10) * SECTOR : 0;
    ret_mapping->is_readonly = g_strcmp0(readonly, "1") == 0;
    /* Made, but never given a table: whoever opened it was killed. */
    ret_mapping->is_open = ret_mapping->device && ret_mapping->size > 0;
    return true;
}

/* A request to device-mapper about `name`; false with errno. *ret_status may be NULL. */
static bool
request(unsigned long command, const char *name, struct dm_ioctl *ret_status)
{
    g_auto(file_fd) fd = open(dm_control, O_RDWR | O_CLOEXEC);
    struct {
        struct dm_ioctl header;
        uint8_t room[1024];
    } message = {0};

    if (fd < 0)
        return false;
    message.header.version[0] = DM_VERSION_MAJOR;
    message.header.data_size = sizeof(message);
    message.header.data_start = sizeof(message.header);
    g_strlcpy(message.header.name, name, sizeof(message.header.name));
    if (ioctl(fd, command, &message) < 0)
        return false;
    if (ret_status)
        *ret_status = message.header;
    return true;
}

/* Such a device is not even in /sys. */
void
luks_mapping_remove_unfinished(const char *name)
{
    g_autofree char *node = g_build_filename(mapper_dir, name, NULL);
    struct dm_ioctl status;

    if (request(DM_DEV_STATUS, name, &status) && !(status.flags & DM_ACTIVE_PRESENT_FLAG) &&
        request(DM_DEV_REMOVE, name, NULL))
        unlink(node);
}

bool
luks_check_kernel(GError **error)
{
    /* Makes the kernel load the module. */
    if (request(DM_GET_TARGET_VERSION, "crypt", NULL))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "this host's kernel has no device-mapper with the target 'crypt' (%s): dm-crypt "
              "volumes can't be opened; try 'modprobe dm-crypt'",
              g_strerror(errno));
    return false;
}

/* One try. libcryptsetup would try for seconds, under the lock: what is open is not given to it. */
static int
try_close(const char *name)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(luks_context_get_lock());
    struct dm_ioctl status;

    luks_mapping_remove_unfinished(name);
    if (!request(DM_DEV_STATUS, name, &status))
        return -ENODEV;
    return status.open_count > 0 ? -EBUSY : crypt_deactivate_by_name(NULL, name, 0);
}

bool
luks_close(const char *name, GError **error)
{
    int result = try_close(name);

    for (unsigned int i = 0; i < BUSY_WAITS && result == -EBUSY; i++) {
        g_usleep(BUSY_WAIT_US);
        result = try_close(name);
    }
    if (result >= 0 || result == -ENODEV)
        return true;
    if (result == -EBUSY)
        error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
                  "%s/%s is in use: end what has it open (see 'fuser -v %s/%s')", mapper_dir, name,
                  mapper_dir, name);
    else
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED, "cannot close %s/%s: %s",
                  mapper_dir, name, g_strerror(-result));
    return false;
}
