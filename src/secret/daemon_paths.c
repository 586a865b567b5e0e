/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the default paths. The driver lock's and the token's are libvirt's, and have to be.
 */
#include "secret/daemon_paths.h"

#include <sys/stat.h>

#include "util/file.h"

struct daemon_paths *
daemon_paths_new(bool session)
{
    struct daemon_paths *paths = g_new0(struct daemon_paths, 1);
    const char *config = session ? g_get_user_config_dir() : SYSCONFDIR;
    const char *runtime = session ? g_get_user_runtime_dir() : RUNSTATEDIR;

    paths->session = session;
    paths->config_dir = g_build_filename(config, "libvirt", NULL);
    paths->runtime_dir = g_build_filename(runtime, "libvirt", NULL);
    paths->config_file = g_build_filename(paths->config_dir, "virtcrypt-secretd.conf", NULL);
    paths->secrets_dir = g_build_filename(paths->config_dir, "secrets", NULL);
    paths->journal_dir = g_build_filename(paths->config_dir, "virtcrypt", "journal", NULL);
    paths->driver_lock =
        g_build_filename(paths->runtime_dir, "secrets", session ? "run" : "", "driver.pid", NULL);
    paths->token_dir = g_build_filename(paths->runtime_dir, "common", NULL);
    paths->pid_file = g_build_filename(paths->runtime_dir, "virtcrypt-secretd.pid", NULL);
    return paths;
}

void
daemon_paths_free(struct daemon_paths *paths)
{
    if (!paths)
        return;
    g_free(paths->config_dir);
    g_free(paths->config_file);
    g_free(paths->secrets_dir);
    g_free(paths->journal_dir);
    g_free(paths->runtime_dir);
    g_free(paths->driver_lock);
    g_free(paths->token_dir);
    g_free(paths->pid_file);
    g_free(paths);
}

bool
daemon_paths_make_folders(const struct daemon_paths *paths, GError **error)
{
    mode_t old_umask = umask(paths->session ? 077 : 022);
    g_auto(file_fd) config_fd = file_open_dir(paths->config_dir, true, 0755, error);
    g_auto(file_fd) runtime_fd =
        config_fd < 0 ? -1 : file_open_dir(paths->runtime_dir, true, 0755, error);

    umask(old_umask);
    return runtime_fd >= 0;
}
