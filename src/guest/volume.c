/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: volume.h.
 */
#include "guest/volume.h"

#include <errno.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>

#define FSTAB  "/etc/fstab"
#define MOUNTS "/proc/self/mounts"

/* ---- what should be mounted and is not ---- */

static bool
is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return dir[0] == '/' && len > 1 && strncmp(path, dir, len) == 0 &&
           (path[len] == '/' || path[len] == '\0');
}

static bool
has_mount(const char *mounts, const char *dir)
{
    FILE *file = setmntent(mounts, "re");
    const struct mntent *entry;
    bool has = false;

    while (file && !has && (entry = getmntent(file)))
        has = strcmp(entry->mnt_dir, dir) == 0;
    if (file)
        endmntent(file);
    return has;
}

bool
guest_volume_is_unmounted(const char *path, const char *fstab, const char *mounts)
{
    g_autoptr(GPtrArray) dirs = g_ptr_array_new_with_free_func(g_free);
    FILE *file = setmntent(fstab, "re");
    const struct mntent *entry;

    while (file && (entry = getmntent(file))) {
        if (is_below(path, entry->mnt_dir))
            g_ptr_array_add(dirs, g_strdup(entry->mnt_dir));
    }
    if (file)
        endmntent(file);
    for (guint i = 0; i < dirs->len; i++) {
        if (!has_mount(mounts, dirs->pdata[i]))
            return true;
    }
    return false;
}

/* ---- the volume ---- */

/* False: there is no such file, and its folder could be looked into. */
static bool
may_be_file(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    struct stat status;

    if (stat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return true;
    return stat(folder, &status) != 0;
}

bool
guest_volume_exists(struct storage_service *storage, const char *path)
{
    g_autoptr(storage_volume_t) volume = NULL;

    if (path[0] != '/' || may_be_file(path))
        return true;
    /* A volume of ours is gone when vol-delete has taken its record, and its secret, away. */
    volume = storage_service_get_by_path(storage, path, NULL);
    if (volume)
        return true;
    return guest_volume_is_unmounted(path, FSTAB, MOUNTS);
}
