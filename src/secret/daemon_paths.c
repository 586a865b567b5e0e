/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the default paths. The driver lock's is libvirt's, and has to be.
 */
#include "secret/daemon_paths.h"

struct daemon_paths *
daemon_paths_new(const struct daemon_folders *folders)
{
    struct daemon_paths *paths = g_new0(struct daemon_paths, 1);
    g_autofree char *data = folders->session ? g_strdup(g_get_user_data_dir())
                                             : g_build_filename(LOCALSTATEDIR, "lib", NULL);

    paths->secrets_dir = g_build_filename(folders->config_dir, "secrets", NULL);
    paths->journal_dir = g_build_filename(folders->config_dir, "virtcrypt", "journal", NULL);
    paths->guests_dir = g_build_filename(folders->config_dir, "qemu", "keys", NULL);
    paths->audit = g_build_filename(data, "libvirt", "virtcrypt", "audit.log", NULL);
    paths->generations = g_build_filename(folders->config_dir, "virtcrypt", "generations", NULL);
    paths->slots = g_build_filename(folders->config_dir, "virtcrypt", "master.slots", NULL);
    paths->libvirt_conf = g_build_filename(folders->config_dir, "secret.conf", NULL);
    paths->index = g_build_filename(folders->config_dir, "virtcrypt", "index", NULL);
    paths->driver_lock = g_build_filename(folders->runtime_dir, "secrets",
                                          folders->session ? "run" : "", "driver.pid", NULL);
    return paths;
}

void
daemon_paths_free(struct daemon_paths *paths)
{
    if (!paths)
        return;
    g_free(paths->secrets_dir);
    g_free(paths->journal_dir);
    g_free(paths->guests_dir);
    g_free(paths->audit);
    g_free(paths->generations);
    g_free(paths->slots);
    g_free(paths->libvirt_conf);
    g_free(paths->index);
    g_free(paths->driver_lock);
    g_free(paths);
}
