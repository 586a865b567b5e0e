/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: container.h: which kind of container it is, sizes, and overwriting.
 */
#include "storage/container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/container_file.h"
#include "storage/container_kinds.h"
#include "util/error.h"
#include "util/file.h"

enum { BLOCK = 512, WIPE_STEP = 1024 * 1024, TRIM_STEP = 1024 * 1024 * 1024 };

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

bool
container_create(const struct container_params *params, struct storage_progress *progress,
                 GError **error)
{
    if (!storage_progress_check(progress, error))
        return false;
    if (params->pool->type == POOL_TYPE_LOGICAL)
        return container_lvm_create(params->pool->source_name, base_name(params->path),
                                    params->size, error);
    return container_file_create(params, progress, error);
}

static bool
measure(int fd, const char *path, uint64_t *ret_size, uint64_t *ret_allocation, GError **error)
{
    struct stat info;
    uint64_t bytes = 0;

    if (fstat(fd, &info) < 0 || (S_ISBLK(info.st_mode) && ioctl(fd, BLKGETSIZE64, &bytes) < 0)) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot examine %s", path);
        return false;
    }
    if (S_ISBLK(info.st_mode)) {
        *ret_size = bytes;
        *ret_allocation = bytes;
    } else {
        *ret_size = (uint64_t)info.st_size;
        *ret_allocation = (uint64_t)info.st_blocks * BLOCK;
    }
    return true;
}

bool
container_get_size(const char *path, uint64_t *ret_size, uint64_t *ret_allocation, GError **error)
{
    g_auto(file_fd) fd = container_file_open(path, true, error);

    return fd >= 0 && measure(fd, path, ret_size, ret_allocation, error);
}

bool
container_resize(const struct pool_def *pool, const char *path, uint64_t size, bool preallocate,
                 GError **error)
{
    uint64_t old_size, allocation;

    if (pool->type != POOL_TYPE_LOGICAL)
        return container_file_resize(path, size, preallocate, error);
    return container_get_size(path, &old_size, &allocation, error) &&
           container_lvm_resize(pool->source_name, base_name(path), old_size, size, error);
}

bool
container_remove(const struct pool_def *pool, const char *path, GError **error)
{
    if (pool->type == POOL_TYPE_LOGICAL)
        return container_lvm_remove(pool->source_name, base_name(path), error);
    return container_file_remove(path, error);
}

bool
container_make_available(const char *path, GError **error)
{
    g_autofree char *group = NULL;
    g_autofree char *name = NULL;

    if (access(path, F_OK) == 0 || !container_lvm_split_path(path, &group, &name))
        return true;
    return container_lvm_activate(group, name, error);
}

bool
container_find(const char *path, bool *ret_exists, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (container_make_available(path, &failure)) {
        *ret_exists = access(path, F_OK) == 0;
        return true;
    }
    if (error_is(failure, ERROR_NO_STORAGE_VOL)) {
        *ret_exists = false;
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

bool
container_is_ours(const struct pool_def *pool, const char *path, bool *ret_is_ours, GError **error)
{
    return container_lvm_is_ours(pool->source_name, base_name(path), ret_is_ours, error);
}

/* A place to wipe, and what to fill it with. */
struct wipe {
    int fd;
    const char *path;
    bool is_block;
    enum container_wipe how;
    uint8_t *bytes; /* WIPE_STEP */
};

static bool
fill_random(uint8_t *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = getrandom(bytes + done, len - done, 0);

        if (got < 0 && errno != EINTR)
            return false;
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool
discard(const struct wipe *wipe, uint64_t offset, uint64_t length)
{
    uint64_t range[2] = {offset, length};

    if (wipe->is_block)
        return ioctl(wipe->fd, BLKDISCARD, range) == 0;
    return fallocate(wipe->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)length) == 0;
}

static bool
wipe_part(const struct wipe *wipe, uint64_t offset, uint64_t length)
{
    if (wipe->how == CONTAINER_WIPE_TRIM)
        return discard(wipe, offset, length);
    if (wipe->how == CONTAINER_WIPE_RANDOM && !fill_random(wipe->bytes, (size_t)length))
        return false;
    return file_write_all_at(wipe->fd, wipe->bytes, (size_t)length, (off_t)offset);
}

/* The next part of offset..end that takes up room: what a sparse file has no blocks for holds
 * nothing to overwrite. */
static bool
find_used(const struct wipe *wipe, uint64_t *offset, uint64_t end, uint64_t *ret_end)
{
    off_t start = wipe->is_block ? -1 : lseek(wipe->fd, (off_t)*offset, SEEK_DATA);
    off_t stop = start < 0 ? -1 : lseek(wipe->fd, start, SEEK_HOLE);

    if (!wipe->is_block && start < 0 && errno == ENXIO)
        return false;
    if (start > 0)
        *offset = (uint64_t)start;
    *ret_end = stop < 0 ? end : MIN((uint64_t)stop, end);
    return *offset < end;
}

static bool
wipe_range(const struct wipe *wipe, uint64_t offset, uint64_t end,
           struct storage_progress *progress, GError **error)
{
    uint64_t first = offset, stop;
    uint64_t step = wipe->how == CONTAINER_WIPE_TRIM ? TRIM_STEP : WIPE_STEP;

    while (offset < end && find_used(wipe, &offset, end, &stop)) {
        while (offset < stop) {
            uint64_t part = MIN(stop - offset, step);

            if (!storage_progress_check(progress, error))
                return false;
            if (!wipe_part(wipe, offset, part)) {
                error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot overwrite %s at %llu",
                                wipe->path, (unsigned long long)offset);
                return false;
            }
            offset += part;
            storage_progress_set(progress, offset - first, end - first);
        }
    }
    return true;
}

bool
container_wipe(const char *path, uint64_t offset, uint64_t length, enum container_wipe how,
               struct storage_progress *progress, GError **error)
{
    g_auto(file_fd) fd = container_file_open(path, false, error);
    g_autofree uint8_t *bytes = how == CONTAINER_WIPE_TRIM ? NULL : g_malloc0(WIPE_STEP);
    struct wipe wipe = {.fd = fd, .path = path, .how = how, .bytes = bytes};
    uint64_t size, allocation, end;
    struct stat info;

    if (fd < 0 || !measure(fd, path, &size, &allocation, error))
        return false;
    wipe.is_block = fstat(fd, &info) == 0 && S_ISBLK(info.st_mode);
    end = length == 0 || length > size - MIN(offset, size) ? size : offset + length;
    if (!wipe_range(&wipe, offset, end, progress, error))
        return false;
    if (fsync(fd) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot flush %s", path);
        return false;
    }
    storage_progress_set(progress, 1, 1);
    return true;
}
