/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: hook_offline.h.
 */
#include "tools/hook_offline.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/pool_def.h"
#include "conf/volume_record.h"
#include "storage/pools.h"
#include "storage/records.h"
#include "util/error.h"
#include "util/file.h"

struct check {
    const struct hook_folders *folders;
    const struct domain_disks *guest;
    struct storage_records *records; /* NULL: there are none */
    struct storage_pools *pools;
};

static void
check_clear(struct check *check)
{
    storage_records_free(check->records);
    storage_pools_free(check->pools);
}

typedef struct check check_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(check_t, check_clear)

/* That folder is made by virtcryptd, never by the hook. */
static bool
load_records(struct check *check, GError **error)
{
    if (!g_file_test(check->folders->volumes_dir, G_FILE_TEST_IS_DIR))
        return true;
    check->records =
        storage_records_new(check->folders->volumes_dir, check->folders->device_dir, error);
    return check->records != NULL;
}

static bool
refuse_volume(const struct check *check, const struct domain_disk *disk, const char *pool,
              const char *name, GError **error)
{
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
              "disk '%s' of guest '%s' is volume '%s' of pool '%s', which virtcryptd keeps",
              disk->target, check->guest->name, name, pool);
    return false;
}

static bool
refuse_bare(const struct check *check, const struct domain_disk *disk, const char *path,
            GError **error)
{
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
              "disk '%s' of guest '%s' is %s, which is encrypted, and its <source> has no "
              "<encryption> element: the guest would get the container as its disk",
              disk->target, check->guest->name, path);
    return false;
}

/* QEMU opens its images itself, with a key that virtcrypt-secretd has. */
static bool
check_record(const struct check *check, const struct domain_disk *disk,
             const struct disk_source *source, const struct volume_record *record, GError **error)
{
    if (record->kind == VOLUME_KIND_DM_CRYPT || record->state != VOLUME_STATE_READY)
        return refuse_volume(check, disk, record->pool, record->name, error);
    return source->encryption || refuse_bare(check, disk, record->path, error);
}

/* A record that can't be read is one all the same. */
static bool
check_volume_name(const struct check *check, const struct domain_disk *disk,
                  const struct disk_source *source, GError **error)
{
    g_autoptr(GError) reason = NULL;
    g_autoptr(volume_record_t) record =
        check->records ? storage_records_get(check->records, source->pool, source->volume, &reason)
                       : NULL;

    if (!check->records || (!record && error_is(reason, ERROR_NO_STORAGE_VOL)))
        return true;
    return record ? check_record(check, disk, source, record, error)
                  : refuse_volume(check, disk, source->pool, source->volume, error);
}

static bool
is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && path[len] == '/';
}

static bool
check_path(const struct check *check, const struct domain_disk *disk,
           const struct disk_source *source, const char *path, GError **error)
{
    g_autofree char *clean = g_canonicalize_filename(path, "/");
    g_autoptr(volume_record_t) record =
        check->records ? storage_records_get_by_path(check->records, clean, NULL) : NULL;

    if (record)
        return check_record(check, disk, source, record, error);
    if (!is_below(clean, check->folders->device_dir))
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
              "disk '%s' of guest '%s' is %s, which virtcryptd makes", disk->target,
              check->guest->name, clean);
    return false;
}

/* Of the start of a LUKS1 or LUKS2 header (LUKS On-Disk Format Specifications): the magic, and the
 * version, which is 16 bits. LUKS2's metadata in JSON follow. */
enum { LUKS_MAGIC_LEN = 6, LUKS_VERSION_AT = 7, LUKS_JSON_MAX = 64 * 1024 };

/* Whether the disk is LUKS that QEMU would open (LUKS1), or carries virtcrypt's token. Other LUKS2
 * is the guest's own. */
static bool
is_container(const char *path)
{
    static const char magic[LUKS_MAGIC_LEN] = {'L', 'U', 'K', 'S', '\xba', '\xbe'};
    static const char token[] = "\"type\":\"virtcrypt\"";
    g_auto(file_fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    g_autofree char *start = NULL;
    struct stat info;
    ssize_t len;

    if (fd < 0 || fstat(fd, &info) != 0 || (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)))
        return false;
    start = g_malloc(LUKS_JSON_MAX);
    len = pread(fd, start, LUKS_JSON_MAX, 0);
    if (len <= LUKS_VERSION_AT || memcmp(start, magic, sizeof(magic)) != 0)
        return false;
    return start[LUKS_VERSION_AT] == 1 || memmem(start, (size_t)len, token, strlen(token));
}

/* In a read-only one (a CD) nothing can be overwritten. */
static bool
check_no_container(const struct check *check, const struct domain_disk *disk,
                   const struct disk_source *source, const char *path, GError **error)
{
    bool is_raw = !source->format || strcmp(source->format, "raw") == 0;

    if (!is_raw || source->encryption || disk->is_readonly || !is_container(path))
        return true;
    return refuse_bare(check, disk, path, error);
}

/* Where a volume of a pool is; NULL if libvirt will say what is wrong with it. */
static char *
path_of_volume(const struct check *check, const struct disk_source *source)
{
    g_autoptr(pool_def_t) pool = storage_pools_get(check->pools, source->pool, NULL);

    if (!pool || !pool->target_path || pool->type == POOL_TYPE_OTHER)
        return NULL;
    return g_build_filename(pool->target_path, source->volume, NULL);
}

static bool
check_source(const struct check *check, const struct domain_disk *disk,
             const struct disk_source *source, GError **error)
{
    g_autofree char *found = NULL;
    const char *path = source->path;

    if (source->type == DISK_SOURCE_OTHER)
        return true;
    if (source->type == DISK_SOURCE_VOLUME) {
        if (!source->pool || !source->volume)
            return true;
        if (!check_volume_name(check, disk, source, error))
            return false;
        found = path_of_volume(check, source);
        path = found;
    }
    return !path || (check_path(check, disk, source, path, error) &&
                     check_no_container(check, disk, source, path, error));
}

bool
hook_offline_check(const struct hook_folders *folders, const struct domain_disks *guest,
                   GError **error)
{
    g_auto(check_t) check = {.folders = folders, .guest = guest};

    check.pools = storage_pools_new(folders->pool_state_dir, NULL, NULL);
    if (!load_records(&check, error))
        return false;
    for (guint i = 0; i < guest->disks->len; i++) {
        const struct domain_disk *disk = guest->disks->pdata[i];

        for (guint j = 0; j < disk->sources->len; j++) {
            if (!check_source(&check, disk, disk->sources->pdata[j], error))
                return false;
        }
    }
    return true;
}
