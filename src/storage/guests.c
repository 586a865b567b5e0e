/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: guests.h.
 */
#include "storage/guests.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "util/error.h"
#include "util/file.h"

static void
free_guest(void *guest)
{
    domain_disks_free(guest);
}

/* A guest may end between readdir and open: false without an error then. */
static bool
read_guest(int dir_fd, const char *file, GPtrArray *guests, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(GBytes) xml = file_read(dir_fd, file, DOMAIN_XML_MAX, &failure);
    struct domain_disks *guest;

    if (!xml) {
        if (error_get_errno(failure) != ENOENT)
            g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    guest = domain_disks_parse(g_bytes_get_data(xml, NULL), g_bytes_get_size(xml), error);
    if (!guest)
        return false;
    g_ptr_array_add(guests, guest);
    return true;
}

GPtrArray *
storage_guests_list(const char *state_dir, GError **error)
{
    g_autoptr(GPtrArray) guests = g_ptr_array_new_with_free_func(free_guest);
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) dir_fd = file_open_dir(state_dir, false, 0, &failure);
    g_autoptr(GDir) dir = dir_fd < 0 ? NULL : g_dir_open(state_dir, 0, &failure);
    const char *file;

    if (!dir) {
        if (error_get_errno(failure) == ENOENT)
            return g_steal_pointer(&guests);
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    while ((file = g_dir_read_name(dir))) {
        if (g_str_has_suffix(file, ".xml") && !read_guest(dir_fd, file, guests, &failure) &&
            failure) {
            g_propagate_prefixed_error(
                error, g_steal_pointer(&failure),
                "can't tell which disks the guest of %s/%s uses: ", state_dir, file);
            return NULL;
        }
    }
    return g_steal_pointer(&guests);
}

static bool
is_same(const struct stat *info, const char *path)
{
    struct stat other;

    if (stat(path, &other) != 0)
        return false;
    if (S_ISBLK(info->st_mode))
        return S_ISBLK(other.st_mode) && info->st_rdev == other.st_rdev;
    return info->st_dev == other.st_dev && info->st_ino == other.st_ino;
}

/* What is looked for. */
struct sought {
    const char *pool;
    const char *volume;
    const char *path;
    const struct stat *info; /* of path, or NULL */
};

static bool
is_sought(const struct disk_source *source, const struct sought *sought)
{
    if (source->type == DISK_SOURCE_VOLUME)
        return g_strcmp0(source->pool, sought->pool) == 0 &&
               g_strcmp0(source->volume, sought->volume) == 0;
    return source->path && (strcmp(source->path, sought->path) == 0 ||
                            (sought->info && is_same(sought->info, source->path)));
}

static bool
uses_any(const struct domain_disks *guest, const struct sought *sought)
{
    for (guint i = 0; i < guest->disks->len; i++) {
        const struct domain_disk *disk = guest->disks->pdata[i];

        for (guint k = 0; k < disk->sources->len; k++) {
            if (is_sought(disk->sources->pdata[k], sought))
                return true;
        }
    }
    return false;
}

const struct domain_disks *
storage_guests_find_user(GPtrArray *guests, const char *pool, const char *volume, const char *path)
{
    struct stat info;
    const struct sought sought = {
        .pool = pool,
        .volume = volume,
        .path = path,
        .info = stat(path, &info) == 0 ? &info : NULL,
    };

    for (guint i = 0; i < guests->len; i++) {
        if (uses_any(guests->pdata[i], &sought))
            return guests->pdata[i];
    }
    return NULL;
}
