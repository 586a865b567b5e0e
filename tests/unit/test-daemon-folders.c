/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The folders that daemons share, for the host and for a session.
 */
#include <sys/stat.h>

#include "daemon/folders.h"
#include "expect.h"
#include "folder.h"

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

    expect_path(folders->config_file, SYSCONFDIR, "libvirt/virtcrypt-secretd.conf");
    expect_path(folders->token_dir, RUNSTATEDIR, "libvirt/common");
    expect_path(folders->pid_file, RUNSTATEDIR, "libvirt/virtcrypt-secretd.pid");
}

static void
test_each_daemon_has_files_of_its_name(void)
{
    g_autoptr(daemon_folders_t) folders = daemon_folders_new("virtcryptd", false);

    expect_path(folders->config_file, SYSCONFDIR, "libvirt/virtcryptd.conf");
    expect_path(folders->pid_file, RUNSTATEDIR, "libvirt/virtcryptd.pid");
}

static void
test_a_sessions_files_are_its_users(void)
{
    g_autoptr(daemon_folders_t) folders = daemon_folders_new("virtcrypt-secretd", true);

    expect_path(folders->config_file, home.path, "config/libvirt/virtcrypt-secretd.conf");
    expect_path(folders->token_dir, home.path, "run/libvirt/common");
    expect_path(folders->pid_file, home.path, "run/libvirt/virtcrypt-secretd.pid");
}

static void
test_a_sessions_folders_are_made_for_its_user_alone(void)
{
    g_autoptr(daemon_folders_t) folders = daemon_folders_new("virtcrypt-secretd", true);
    struct stat info;

    g_assert_true(daemon_folders_make(folders, NULL));
    g_assert_cmpint(fstatat(home.fd, "config/libvirt", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
    g_assert_cmpint(fstatat(home.fd, "run/libvirt", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
}

static void
test_the_hosts_folders_are_open_to_clients_whatever_the_umask(void)
{
    g_autoptr(daemon_folders_t) folders = daemon_folders_new("virtcrypt-secretd", false);
    mode_t old_umask = umask(077);
    struct stat info;

    g_free(folders->config_dir);
    g_free(folders->runtime_dir);
    folders->config_dir = folder_path(&home, "host/etc/libvirt");
    folders->runtime_dir = folder_path(&home, "host/run/libvirt");
    g_assert_true(daemon_folders_make(folders, NULL));
    g_assert_cmpint(umask(old_umask), ==, 077);
    g_assert_cmpint(fstatat(home.fd, "host/etc/libvirt", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0755);
    g_assert_cmpint(fstatat(home.fd, "host/run/libvirt", &info, 0), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0755);
}

#define ADD(name) g_test_add_func("/daemon/folders/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_autofree char *config = NULL;
    g_autofree char *run = NULL;
    int result;

    folder_init(&home);
    config = folder_path(&home, "config");
    run = folder_path(&home, "run");
    g_setenv("XDG_CONFIG_HOME", config, TRUE);
    g_setenv("XDG_RUNTIME_DIR", run, TRUE);
    g_test_init(&argc, &argv, NULL);
    ADD(the_hosts_files_are_where_libvirt_has_them);
    ADD(each_daemon_has_files_of_its_name);
    ADD(a_sessions_files_are_its_users);
    ADD(a_sessions_folders_are_made_for_its_user_alone);
    ADD(the_hosts_folders_are_open_to_clients_whatever_the_umask);
    result = g_test_run();
    folder_clear(&home);
    return result;
}
