/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: those paths. They are the daemon's (secret/daemon_paths.c), below another root.
 */
#include "recover/offline_paths.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/daemon_conf.h"
#include "util/error.h"
#include "util/file_place.h"
#include "util/log.h"

enum { CONF_MAX = 1024 * 1024 };

/* Each component of `path` below the root. What is missing is no link. */
static bool
check_links(const struct offline_paths *paths, const char *path, GError **error)
{
    size_t root_len = strlen(paths->root);
    g_auto(GStrv) names = g_strsplit(path + root_len, "/", -1);
    g_autoptr(GString) part = g_string_new(paths->root);
    struct stat info;

    for (char **name = names; *name; name++) {
        if (!**name)
            continue;
        g_string_append_printf(part, "/%s", *name);
        if (lstat(part->str, &info) < 0)
            return true;
        if (!S_ISLNK(info.st_mode))
            continue;
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "%s is a symbolic link, which may lead out of %s: put what it stands for in its "
                  "place",
                  part->str, paths->root);
        return false;
    }
    return true;
}

static struct conf_file *
read_conf(const char *path, GError **error)
{
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GBytes) content = NULL;

    if (file_place_open(path, false, &place, error))
        content = file_read(place.dir_fd, place.name, CONF_MAX, error);
    return content ? conf_file_parse(path, g_bytes_get_data(content, NULL),
                                     g_bytes_get_size(content), error)
                   : NULL;
}

/* The setting master_key_file. Settings that can't be read cost nothing but that. */
static char *
find_key_file(const struct offline_paths *paths, const char *config_dir)
{
    g_autoptr(daemon_conf_t) conf = daemon_conf_new_default(DAEMON_CONF_SECRETD, paths->is_session);
    g_autofree char *path = g_build_filename(config_dir, "virtcrypt-secretd.conf", NULL);
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    g_autoptr(conf_file_t) file = read_conf(path, &error);

    if ((!file && error_get_errno(error) != ENOENT) ||
        (file && !daemon_conf_apply(conf, file, warnings, &error)))
        log_warn("the settings (%s) are not used: %s", path, error->message);
    return offline_paths_relocate(paths, conf->master_key_file);
}

static void
fill(struct offline_paths *paths)
{
    g_autofree char *config = paths->is_session
                                  ? g_build_filename(g_get_user_config_dir(), "libvirt", NULL)
                                  : g_build_filename(paths->root, SYSCONFDIR, "libvirt", NULL);
    g_autofree char *data = paths->is_session
                                ? g_strdup(g_get_user_data_dir())
                                : g_build_filename(paths->root, LOCALSTATEDIR, "lib", NULL);
    g_autofree char *runtime = paths->is_session
                                   ? g_build_filename(g_get_user_runtime_dir(), "libvirt", NULL)
                                   : g_build_filename(paths->root, RUNSTATEDIR, "libvirt", NULL);

    paths->virtcrypt_dir = g_build_filename(config, "virtcrypt", NULL);
    paths->secrets_dir = g_build_filename(config, "secrets", NULL);
    paths->journal_dir = g_build_filename(paths->virtcrypt_dir, "journal", NULL);
    paths->slots = g_build_filename(paths->virtcrypt_dir, "master.slots", NULL);
    paths->generations = g_build_filename(paths->virtcrypt_dir, "generations", NULL);
    paths->index = g_build_filename(paths->virtcrypt_dir, "index", NULL);
    paths->guests_dir = g_build_filename(config, "qemu", "keys", NULL);
    paths->audit = g_build_filename(data, "libvirt", "virtcrypt", "audit.log", NULL);
    paths->key_file = find_key_file(paths, config);
    /* A disk that is mounted somewhere has an empty /run; a container's root may have a daemon. */
    if (!*paths->root || access(runtime, F_OK) == 0)
        paths->driver_lock = g_build_filename(runtime, "secrets", paths->is_session ? "run" : "",
                                              "driver.pid", NULL);
}

struct offline_paths *
offline_paths_new(const char *root, bool is_session, GError **error)
{
    g_autoptr(offline_paths_t) paths = g_new0(struct offline_paths, 1);

    paths->root = root ? g_canonicalize_filename(root, NULL) : g_strdup("");
    if (strcmp(paths->root, "/") == 0)
        *paths->root = '\0';
    paths->is_session = is_session && !*paths->root;
    fill(paths);
    if (*paths->root &&
        (!check_links(paths, paths->secrets_dir, error) ||
         !check_links(paths, paths->journal_dir, error) ||
         !check_links(paths, paths->guests_dir, error) || !check_links(paths, paths->audit, error)))
        return NULL;
    return g_steal_pointer(&paths);
}

void
offline_paths_free(struct offline_paths *paths)
{
    if (!paths)
        return;
    g_free(paths->root);
    g_free(paths->virtcrypt_dir);
    g_free(paths->secrets_dir);
    g_free(paths->journal_dir);
    g_free(paths->slots);
    g_free(paths->generations);
    g_free(paths->index);
    g_free(paths->key_file);
    g_free(paths->guests_dir);
    g_free(paths->audit);
    g_free(paths->driver_lock);
    g_free(paths);
}

char *
offline_paths_relocate(const struct offline_paths *paths, const char *path)
{
    return *paths->root ? g_build_filename(paths->root, path, NULL) : g_strdup(path);
}
