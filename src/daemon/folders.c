/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the default folders. The token's is libvirt's, and has to be.
 */
#include "daemon/folders.h"

#include <sys/stat.h>

#include "util/file.h"

struct daemon_folders *
daemon_folders_new(const char *program, bool session)
{
    struct daemon_folders *folders = g_new0(struct daemon_folders, 1);
    const char *config = session ? g_get_user_config_dir() : SYSCONFDIR;
    const char *runtime = session ? g_get_user_runtime_dir() : RUNSTATEDIR;
    g_autofree char *config_name = g_strconcat(program, ".conf", NULL);
    g_autofree char *pid_name = g_strconcat(program, ".pid", NULL);

    folders->session = session;
    folders->config_dir = g_build_filename(config, "libvirt", NULL);
    folders->runtime_dir = g_build_filename(runtime, "libvirt", NULL);
    folders->token_dir = g_build_filename(folders->runtime_dir, "common", NULL);
    folders->config_file = g_build_filename(folders->config_dir, config_name, NULL);
    folders->pid_file = g_build_filename(folders->runtime_dir, pid_name, NULL);
    return folders;
}

void
daemon_folders_free(struct daemon_folders *folders)
{
    if (!folders)
        return;
    g_free(folders->config_dir);
    g_free(folders->runtime_dir);
    g_free(folders->token_dir);
    g_free(folders->config_file);
    g_free(folders->pid_file);
    g_free(folders);
}

bool
daemon_folders_make(const struct daemon_folders *folders, GError **error)
{
    mode_t old_umask = umask(folders->session ? 077 : 022);
    g_auto(file_fd) config_fd = file_open_dir(folders->config_dir, true, 0755, error);
    g_auto(file_fd) runtime_fd =
        config_fd < 0 ? -1 : file_open_dir(folders->runtime_dir, true, 0755, error);

    umask(old_umask);
    return runtime_fd >= 0;
}
