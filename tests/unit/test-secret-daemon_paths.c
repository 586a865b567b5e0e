/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where the custodian's files are, for the host and for a session.
 */
#include "expect.h"
#include "folder.h"
#include "secret/daemon_paths.h"

/* GLib reads these variables once, so they are set before anything asks. */
static struct folder home;

static void
expect_path(const char *path, const char *folder, const char *rest)
{
    g_autofree char *expected = g_build_filename(folder, rest, NULL);

    g_assert_cmpstr(path, ==, expected);
}

static void
test_the_hosts_files_are_where_libvirt_has_them(void)
{
    g_autoptr(daemon_folders_t) folders = daemon_folders_new("virtcrypt-secretd", false);
    g_autoptr(daemon_paths_t) paths = daemon_paths_new(folders);

    expect_path(paths->secrets_dir, SYSCONFDIR, "libvirt/secrets");
    expect_path(paths->journal_dir, SYSCONFDIR, "libvirt/virtcrypt/journal");
    expect_path(paths->guests_dir, SYSCONFDIR, "libvirt/qemu/keys");
    expect_path(paths->audit, LOCALSTATEDIR, "lib/libvirt/virtcrypt/audit.log");
    expect_path(paths->libvirt_conf, SYSCONFDIR, "libvirt/secret.conf");
    expect_path(paths->driver_lock, RUNSTATEDIR, "libvirt/secrets/driver.pid");
}

static void
test_a_sessions_files_are_its_users(void)
{
    g_autoptr(daemon_folders_t) folders = daemon_folders_new("virtcrypt-secretd", true);
    g_autoptr(daemon_paths_t) paths = daemon_paths_new(folders);

    expect_path(paths->secrets_dir, home.path, "config/libvirt/secrets");
    expect_path(paths->journal_dir, home.path, "config/libvirt/virtcrypt/journal");
    expect_path(paths->guests_dir, home.path, "config/libvirt/qemu/keys");
    expect_path(paths->audit, home.path, "data/libvirt/virtcrypt/audit.log");
    expect_path(paths->libvirt_conf, home.path, "config/libvirt/secret.conf");
    expect_path(paths->driver_lock, home.path, "run/libvirt/secrets/run/driver.pid");
}

#define ADD(name) g_test_add_func("/secret/daemon_paths/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_autofree char *config = NULL;
    g_autofree char *data = NULL;
    g_autofree char *run = NULL;
    int result;

    folder_init(&home);
    config = folder_path(&home, "config");
    run = folder_path(&home, "run");
    data = folder_path(&home, "data");
    g_setenv("XDG_CONFIG_HOME", config, TRUE);
    g_setenv("XDG_DATA_HOME", data, TRUE);
    g_setenv("XDG_RUNTIME_DIR", run, TRUE);
    g_test_init(&argc, &argv, NULL);
    ADD(the_hosts_files_are_where_libvirt_has_them);
    ADD(a_sessions_files_are_its_users);
    result = g_test_run();
    folder_clear(&home);
    return result;
}
