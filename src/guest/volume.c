/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: volume.h. A place is the identity of the volume's folder and, where the file system has
 * such, the handle of the file, by which it is found whatever its name has become.
 */
#include "guest/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "util/file.h"

#define DEVICES "/dev/"
#define LINK    "link" /* the place of one */
#define HANDLE  " "    /* after the folder's identity, before the handle in base64 */

enum { TRIES = 10, TRY_AGAIN_US = 1000 };

/* struct file_handle, which ends in its bytes. */
union handle {
    struct file_handle head;
    unsigned char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

/* ---- the folder ---- */

/* By its file system's type and id, and its own number there: a folder that is not mounted may
 * leave another one of the same file system. Where there is no id, as on NFS, by the device: that
 * may be another one after a restart of the host, and the volume then counts as there. FUSE is a
 * program that may do without a part of what it shows: nothing is missed there. */
static char *
identify(const char *folder)
{
    struct statfs system;
    struct stat status;
    uintmax_t number;
    int id[2];

    if (statfs(folder, &system) != 0 || stat(folder, &status) != 0 ||
        system.f_type == FUSE_SUPER_MAGIC)
        return NULL;
    number = status.st_ino;
    memcpy(id, &system.f_fsid, sizeof(id));
    if (id[0] != 0 || id[1] != 0)
        return g_strdup_printf("%lx:%08x%08x:%" PRIxMAX, (unsigned long)system.f_type,
                               (unsigned int)id[0], (unsigned int)id[1], number);
    return g_strdup_printf("%lx:%" PRIxMAX ":%" PRIxMAX, (unsigned long)system.f_type,
                           (uintmax_t)status.st_dev, number);
}

/* ---- the file ---- */

/* NULL: its file system has none. */
static char *
find_handle(const char *path)
{
    union handle handle = {.head = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount;

    if (name_to_handle_at(AT_FDCWD, path, &handle.head, &mount, 0) != 0)
        return NULL;
    return g_base64_encode(handle.bytes, sizeof(handle.head) + handle.head.handle_bytes);
}

static bool
parse_handle(const char *text, union handle *ret_handle)
{
    gsize len = 0;
    g_autofree unsigned char *bytes = g_base64_decode(text, &len);
    union handle handle = {0};

    if (len <= sizeof(handle.head) || len > sizeof(handle.bytes))
        return false;
    memcpy(handle.bytes, bytes, len);
    if (handle.head.handle_bytes != len - sizeof(handle.head))
        return false;
    *ret_handle = handle;
    return true;
}

/* Linux says ENOMEM of a file that is gone while its inode is being used for a new one. */
static int
open_handle(int mount_fd, union handle *handle)
{
    int fd = -1;

    for (unsigned int i = 0; i < TRIES && fd < 0; i++) {
        if (i > 0)
            g_usleep(TRY_AGAIN_US);
        fd = open_by_handle_at(mount_fd, &handle->head, O_PATH | O_CLOEXEC);
        if (fd < 0 && errno != ENOMEM)
            break;
    }
    return fd;
}

/* Whether it surely has no name any more on that file system: it was neither moved there nor does
 * another link of it stay. */
static bool
is_deleted(const char *folder, const char *text)
{
    g_auto(file_fd) mount_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(file_fd) fd = -1;
    union handle handle;
    struct stat status;

    if (mount_fd < 0 || !parse_handle(text, &handle))
        return false;
    fd = open_handle(mount_fd, &handle);
    if (fd < 0)
        return errno == ESTALE;
    return fstat(fd, &status) == 0 && status.st_nlink == 0;
}

/* ---- both ---- */

char *
guest_volume_find_place(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *identity = NULL;
    g_autofree char *handle = NULL;
    struct stat status;

    if (path[0] != '/' || lstat(path, &status) != 0)
        return NULL;
    /* To take one away deletes nothing. */
    if (S_ISLNK(status.st_mode))
        return g_strdup(LINK);
    identity = identify(folder);
    handle = find_handle(path);
    return identity && handle ? g_strconcat(identity, HANDLE, handle, NULL)
                              : g_steal_pointer(&identity);
}

static bool
is_missing_at(const char *path, const char *place)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *present = identify(folder);
    const char *handle = strstr(place, HANDLE);
    size_t len = handle ? (size_t)(handle - place) : strlen(place);

    return present && strlen(present) == len && strncmp(present, place, len) == 0 &&
           (!handle || is_deleted(folder, handle + strlen(HANDLE)));
}

bool
guest_volume_may_be_there(const char *path, const char *place)
{
    if (path[0] != '/' || g_str_has_prefix(path, DEVICES) || file_may_exist(path))
        return true;
    return !place || !is_missing_at(path, place);
}

bool
guest_volume_exists(struct storage_service *storage, const char *path, const char *place)
{
    g_autoptr(volume_record_t) record = NULL;

    if (guest_volume_may_be_there(path, place))
        return true;
    /* A volume of ours is gone when vol-delete has taken its record, and its secret, away. */
    record = storage_service_find_record(storage, path, NULL, NULL, NULL);
    return record != NULL;
}

/* ---- the volume of a key ---- */

bool
guest_volume_is_same(const char *path, const char *other)
{
    struct stat one;
    struct stat two;

    return strcmp(path, other) == 0 || (stat(path, &one) == 0 && stat(other, &two) == 0 &&
                                        one.st_dev == two.st_dev && one.st_ino == two.st_ino);
}

bool
guest_volume_leaves(struct storage_service *storage, const struct guest_key *key,
                    const char *volume)
{
    return key->volume && volume && !guest_volume_is_same(key->volume, volume) &&
           guest_volume_exists(storage, key->volume, key->place);
}

void
guest_volume_set(struct storage_service *storage, struct guest_key *key, const char *volume)
{
    char *place = guest_volume_leaves(storage, key, volume) ? g_strdup(GUEST_KEY_SEVERAL)
                  : volume                                  ? guest_volume_find_place(volume)
                                                            : NULL;

    guest_key_set_volume(key, volume);
    if (place)
        guest_key_set_place(key, place);
}
