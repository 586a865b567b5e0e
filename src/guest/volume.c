/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: volume.h.
 */
#include "guest/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define DEVICES "/dev/"

/* By its file system's type and id, and its own number there: a folder that is not mounted may
 * leave another one of the same file system. Where there is no id, as on NFS, by the device: that
 * may be another one after a restart of the host, and the volume then counts as there. */
static char *
identify(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    struct statfs system;
    struct stat status;
    uintmax_t number;
    int id[2];

    if (statfs(folder, &system) != 0 || stat(folder, &status) != 0)
        return NULL;
    number = status.st_ino;
    memcpy(id, &system.f_fsid, sizeof(id));
    if (id[0] != 0 || id[1] != 0)
        return g_strdup_printf("%lx:%08x%08x:%" PRIxMAX, (unsigned long)system.f_type,
                               (unsigned int)id[0], (unsigned int)id[1], number);
    return g_strdup_printf("%lx:%" PRIxMAX ":%" PRIxMAX, (unsigned long)system.f_type,
                           (uintmax_t)status.st_dev, number);
}

char *
guest_volume_find_place(const char *path)
{
    struct stat status;

    return path[0] == '/' && lstat(path, &status) == 0 ? identify(path) : NULL;
}

void
guest_volume_note(struct guest_key *key)
{
    g_autofree char *place = key->volume ? guest_volume_find_place(key->volume) : NULL;

    if (!place)
        return;
    g_free(key->place);
    key->place = g_steal_pointer(&place);
}

static bool
may_be_file(const char *path, const char *place)
{
    g_autofree char *present = NULL;
    struct stat status;

    if (lstat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return true;
    present = identify(path);
    return !place || g_strcmp0(present, place) != 0;
}

bool
guest_volume_exists(struct storage_service *storage, const char *path, const char *place)
{
    g_autoptr(volume_record_t) record = NULL;

    if (path[0] != '/' || g_str_has_prefix(path, DEVICES) || may_be_file(path, place))
        return true;
    /* A volume of ours is gone when vol-delete has taken its record, and its secret, away. */
    record = storage_service_find_record(storage, path, NULL, NULL, NULL);
    return record != NULL;
}
