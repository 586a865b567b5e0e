/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the paths. Those of libvirt's state are libvirt's, and have to be.
 */
#include "guest/daemon_paths.h"

#include "util/file.h"

struct virtcryptd_paths *
virtcryptd_paths_new(const struct daemon_folders *folders)
{
    struct virtcryptd_paths *paths = g_new0(struct virtcryptd_paths, 1);

    paths->volumes_dir = g_build_filename(folders->config_dir, "virtcrypt", "volumes", NULL);
    paths->policy_dir = g_build_filename(folders->config_dir, "virtcrypt", "pools", NULL);
    paths->guests_dir = g_build_filename(folders->config_dir, "virtcrypt", "guests", NULL);
    paths->domain_dir = g_build_filename(folders->config_dir, "qemu", NULL);
    paths->uses_dir = g_build_filename(folders->runtime_dir, "virtcrypt", "uses", NULL);
    paths->autostart = g_build_filename(folders->runtime_dir, "virtcrypt", "autostart", NULL);
    paths->pool_state_dir = g_build_filename(folders->runtime_dir, "storage", NULL);
    paths->pool_config_dir = g_build_filename(folders->config_dir, "storage", NULL);
    paths->guest_state_dir = g_build_filename(folders->runtime_dir, "qemu", NULL);
    return paths;
}

void
virtcryptd_paths_free(struct virtcryptd_paths *paths)
{
    if (!paths)
        return;
    g_free(paths->volumes_dir);
    g_free(paths->policy_dir);
    g_free(paths->guests_dir);
    g_free(paths->domain_dir);
    g_free(paths->uses_dir);
    g_free(paths->autostart);
    g_free(paths->pool_state_dir);
    g_free(paths->pool_config_dir);
    g_free(paths->guest_state_dir);
    g_free(paths);
}

bool
virtcryptd_paths_make_folders(const struct virtcryptd_paths *paths, GError **error)
{
    const char *const dirs[] = {paths->volumes_dir, paths->policy_dir, paths->guests_dir,
                                paths->uses_dir};

    for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++) {
        g_auto(file_fd) fd = file_open_dir(dirs[i], true, 0700, error);

        if (fd < 0)
            return false;
    }
    return true;
}
