/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: pools.h. Nothing is kept in memory: libvirt changes its files when it likes.
 */
#include "storage/pools.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/volume_def.h"
#include "util/error.h"
#include "util/file.h"

enum { DIR_MODE = 0700, FILE_MODE = 0600 };

struct storage_pools {
    char *state_dir;
    char *config_dir;
    char *policy_dir;
};

struct storage_pools *
storage_pools_new(const char *state_dir, const char *config_dir, const char *policy_dir)
{
    struct storage_pools *pools = g_new0(struct storage_pools, 1);

    pools->state_dir = g_strdup(state_dir);
    pools->config_dir = g_strdup(config_dir);
    pools->policy_dir = g_strdup(policy_dir);
    return pools;
}

void
storage_pools_free(struct storage_pools *pools)
{
    if (!pools)
        return;
    g_free(pools->state_dir);
    g_free(pools->config_dir);
    g_free(pools->policy_dir);
    g_free(pools);
}

/* NULL without an error: there is none. */
static GBytes *
read_file(const char *dir, const char *name, size_t max, GError **error)
{
    g_autofree char *file = g_strconcat(name, ".xml", NULL);
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) fd = file_open_dir(dir, false, DIR_MODE, &failure);
    GBytes *xml = fd < 0 ? NULL : file_read(fd, file, max, &failure);

    if (!xml && error_get_errno(failure) != ENOENT)
        g_propagate_error(error, g_steal_pointer(&failure));
    return xml;
}

/* A pool that libvirt has not started since the host's boot is active all the same, with no file
 * that says so, if libvirtd found its target there: a folder (of fs and netfs: mounted), or that of
 * the volume group. At boot this counts before libvirtd runs, too. */
static bool
target_is_there(const struct pool_def *pool)
{
    g_autofree char *parent = NULL;
    struct stat target, above;

    if (pool->type == POOL_TYPE_OTHER || !pool->target_path ||
        stat(pool->target_path, &target) != 0 || !S_ISDIR(target.st_mode))
        return false;
    if (pool->type == POOL_TYPE_LOGICAL || strcmp(pool->type_name, "dir") == 0)
        return true;
    parent = g_build_filename(pool->target_path, "..", NULL);
    return stat(parent, &above) == 0 && above.st_dev != target.st_dev;
}

static void
set_missing(const struct storage_pools *pools, const char *name, GError **error)
{
    g_autofree char *file = g_strdup_printf("%s/%s.xml", pools->config_dir, name);

    if (pools->config_dir && access(file, F_OK) == 0)
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "storage pool '%s' is not active", name);
    else
        error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_POOL,
                  "no storage pool with matching name '%s'", name);
}

/* NULL without an error: there is none. */
static struct pool_def *
read_pool(const char *dir, const char *name, GError **error)
{
    g_autoptr(GBytes) xml = read_file(dir, name, POOL_DEF_XML_MAX, error);
    struct pool_def *pool;

    if (!xml)
        return NULL;
    pool = pool_def_parse(g_bytes_get_data(xml, NULL), g_bytes_get_size(xml), error);
    if (!pool)
        g_prefix_error(error, "can't read libvirt's file of storage pool '%s': ", name);
    return pool;
}

struct pool_def *
storage_pools_get(struct storage_pools *pools, const char *name, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(pool_def_t) pool = NULL;

    if (!volume_def_check_name("pool", name, error))
        return NULL;
    pool = read_pool(pools->state_dir, name, &failure);
    if (pool)
        return g_steal_pointer(&pool);
    if (!failure && pools->config_dir)
        pool = read_pool(pools->config_dir, name, &failure);
    if (pool && target_is_there(pool))
        return g_steal_pointer(&pool);
    if (failure)
        g_propagate_error(error, g_steal_pointer(&failure));
    else
        set_missing(pools, name, error);
    return NULL;
}

bool
storage_pools_get_policy(struct storage_pools *pools, const char *name,
                         enum pool_policy *ret_policy, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(GBytes) xml = NULL;

    if (!volume_def_check_name("pool", name, error))
        return false;
    xml = read_file(pools->policy_dir, name, POOL_POLICY_XML_MAX, &failure);
    if (!xml && !failure) {
        *ret_policy = POOL_POLICY_NONE;
        return true;
    }
    if (xml && pool_policy_parse(name, g_bytes_get_data(xml, NULL), g_bytes_get_size(xml),
                                 ret_policy, &failure))
        return true;
    g_propagate_prefixed_error(error, g_steal_pointer(&failure),
                               "the policy of storage pool '%s' can't be read (mend or remove "
                               "%s/%s.xml): ",
                               name, pools->policy_dir, name);
    return false;
}

bool
storage_pools_set_policy(struct storage_pools *pools, const char *name, enum pool_policy policy,
                         GError **error)
{
    g_autoptr(pool_def_t) pool = storage_pools_get(pools, name, error);
    g_autofree char *file = g_strconcat(name, ".xml", NULL);
    g_autofree char *xml = pool_policy_format(name, policy);
    g_auto(file_fd) fd = -1;

    if (!pool)
        return false;
    if (pool->type == POOL_TYPE_OTHER && policy != POOL_POLICY_NONE) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "storage pool '%s' is of type '%s': volumes can be encrypted in pools of type "
                  "dir, fs, netfs and logical",
                  name, pool->type_name);
        return false;
    }
    fd = file_open_dir(pools->policy_dir, true, DIR_MODE, error);
    if (fd < 0)
        return false;
    if (policy != POOL_POLICY_NONE)
        return file_replace(fd, file, xml, strlen(xml), FILE_MODE, error);
    if (unlinkat(fd, file, 0) != 0 && errno != ENOENT) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "can't remove %s/%s", pools->policy_dir,
                        file);
        return false;
    }
    return file_sync_dir(fd, error);
}
