/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Listening sockets: those that systemd passes, in a process that has nothing else, and our own.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "expect.h"
#include "folder.h"
#include "daemon/sockets.h"

static const struct daemon_socket_kind kinds[DAEMON_SOCKET_KINDS] = {
    {.file = "virtsecretd-sock", .units = {"virtsecretd.socket", "virtcrypt-secretd.socket", NULL}},
    {
        .file = "virtsecretd-sock-ro",
        .units = {"virtsecretd-ro.socket", "virtcrypt-secretd-ro.socket", NULL},
        .readonly = true,
    },
};

struct fixture {
    struct folder folder;
    struct daemon_conf *conf;
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    folder_init(&fixture->folder);
    fixture->conf = daemon_conf_new_default(DAEMON_CONF_SECRETD, false);
    g_free(fixture->conf->unix_sock_dir);
    fixture->conf->unix_sock_dir = folder_path(&fixture->folder, "sockets");
    fixture->conf->unix_sock_rw_perms = 0770;
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    daemon_conf_free(fixture->conf);
    folder_clear(&fixture->folder);
}

static int
listen_on(const struct fixture *fixture, const char *name)
{
    g_autofree char *path = folder_path(&fixture->folder, name);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

static bool
can_connect(const struct fixture *fixture, const char *name)
{
    g_autofree char *path = folder_path(&fixture->folder, name);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected;

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return connected;
}

static unsigned int
mode_of(const struct fixture *fixture, const char *name)
{
    struct stat info;

    g_assert_cmpint(fstatat(fixture->folder.fd, name, &info, AT_SYMLINK_NOFOLLOW), ==, 0);
    return info.st_mode & 07777;
}

/* ---- passed ---- */

struct passing {
    const struct daemon_conf *conf;
    const char *names; /* LISTEN_FDNAMES, or NULL */
    const int *fds;    /* to be 3, 4, ... */
    size_t fd_count;
    const char *expected; /* "FILE rw, FILE ro, ", or the error */
};

static void
describe(GPtrArray *sockets, GString *ret_text)
{
    for (guint i = 0; i < sockets->len; i++) {
        const struct daemon_socket *passed = g_ptr_array_index(sockets, i);
        struct sockaddr_un address = {0};
        socklen_t len = sizeof(address);

        getsockname(passed->fd, (struct sockaddr *)&address, &len);
        g_string_append_printf(ret_text, "%s %s, ", strrchr(address.sun_path, '/') + 1,
                               passed->readonly ? "ro" : "rw");
    }
}

/* In a child, whose descriptors from 3 on are its own. */
static void
take_in_child(const struct passing *passing, int result_fd)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) sockets = NULL;
    g_autofree char *pid = g_strdup_printf("%d", (int)getpid());
    g_autofree char *count = g_strdup_printf("%zu", passing->fd_count);
    int high[8];

    result_fd = fcntl(result_fd, F_DUPFD, 200);
    for (size_t i = 0; i < passing->fd_count; i++)
        high[i] = fcntl(passing->fds[i], F_DUPFD, 100);
    for (size_t i = 0; i < passing->fd_count; i++)
        dup2(high[i], 3 + (int)i);
    g_setenv("LISTEN_PID", pid, TRUE);
    g_setenv("LISTEN_FDS", count, TRUE);
    if (passing->names)
        g_setenv("LISTEN_FDNAMES", passing->names, TRUE);
    sockets = daemon_sockets_take_passed(kinds, passing->conf, &error);
    if (sockets)
        describe(sockets, text);
    else
        g_string_append(text, error->message);
    _exit(write(result_fd, text->str, text->len) == (ssize_t)text->len ? 0 : 1);
}

static void
expect_passed(const struct passing *passing)
{
    char text[512] = "";
    int fds[2];
    pid_t pid;

    g_assert_cmpint(pipe(fds), ==, 0);
    pid = fork();
    if (pid == 0)
        take_in_child(passing, fds[1]);
    close(fds[1]);
    g_assert_cmpint(read(fds[0], text, sizeof(text) - 1), >=, 0);
    close(fds[0]);
    waitpid(pid, NULL, 0);
    g_assert_cmpstr(text, ==, passing->expected);
}

static void
test_passed_sockets_are_known_by_the_names_of_libvirts_units(struct fixture *fixture,
                                                             gconstpointer unused)
{
    const int fds[] = {listen_on(fixture, "a"), listen_on(fixture, "b")};
    struct passing passing = {.conf = fixture->conf, .fds = fds, .fd_count = 2};

    passing.names = "virtsecretd.socket:virtsecretd-ro.socket";
    passing.expected = "a rw, b ro, ";
    expect_passed(&passing);
    passing.names = "virtsecretd-ro.socket:virtsecretd.socket";
    passing.expected = "b rw, a ro, ";
    expect_passed(&passing);
    close(fds[0]);
    close(fds[1]);
}

static void
test_passed_sockets_are_known_by_the_names_of_our_units(struct fixture *fixture,
                                                        gconstpointer unused)
{
    const int fds[] = {listen_on(fixture, "a"), listen_on(fixture, "b")};

    expect_passed(&(struct passing){
        .conf = fixture->conf,
        .names = "virtcrypt-secretd-ro.socket:virtcrypt-secretd.socket",
        .fds = fds,
        .fd_count = 2,
        .expected = "b rw, a ro, ",
    });
    close(fds[0]);
    close(fds[1]);
}

static void
test_passed_sockets_without_names_are_known_by_their_files(struct fixture *fixture,
                                                           gconstpointer unused)
{
    int fds[2];

    g_assert_cmpint(mkdirat(fixture->folder.fd, "sockets", 0755), ==, 0);
    fds[0] = listen_on(fixture, "sockets/virtsecretd-sock-ro");
    fds[1] = listen_on(fixture, "sockets/virtsecretd-sock");
    expect_passed(&(struct passing){
        .conf = fixture->conf,
        .fds = fds,
        .fd_count = 2,
        .expected = "virtsecretd-sock rw, virtsecretd-sock-ro ro, ",
    });
    close(fds[0]);
    close(fds[1]);
}

static void
test_one_passed_socket_is_enough(struct fixture *fixture, gconstpointer unused)
{
    const int fd = listen_on(fixture, "a");

    expect_passed(&(struct passing){
        .conf = fixture->conf,
        .names = "virtsecretd-ro.socket",
        .fds = &fd,
        .fd_count = 1,
        .expected = "a ro, ",
    });
    close(fd);
}

static void
test_the_socket_of_administration_is_refused(struct fixture *fixture, gconstpointer unused)
{
    const int fd = listen_on(fixture, "a");

    expect_passed(&(struct passing){
        .conf = fixture->conf,
        .names = "virtsecretd-admin.socket",
        .fds = &fd,
        .fd_count = 1,
        .expected = "the socket 'virtsecretd-admin.socket', which systemd passed, is none that "
                    "this daemon serves; check the socket units' Service= and FileDescriptorName=",
    });
    close(fd);
}

static void
test_without_variables_nothing_is_passed(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GPtrArray) sockets = daemon_sockets_take_passed(kinds, fixture->conf, NULL);

    g_assert_cmpuint(sockets->len, ==, 0);
}

/* ---- our own ---- */

static void
test_own_sockets_have_their_modes_and_take_clients(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) sockets = daemon_sockets_bind(kinds, fixture->conf, false, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(sockets->len, ==, 2);
    g_assert_cmpuint(mode_of(fixture, "sockets"), ==, 0755);
    g_assert_cmpuint(mode_of(fixture, "sockets/virtsecretd-sock"), ==, 0770);
    g_assert_cmpuint(mode_of(fixture, "sockets/virtsecretd-sock-ro"), ==, 0777);
    g_assert_true(can_connect(fixture, "sockets/virtsecretd-sock"));
    g_assert_true(can_connect(fixture, "sockets/virtsecretd-sock-ro"));
}

static void
test_a_session_has_one_socket_in_a_folder_of_its_own(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GPtrArray) sockets = daemon_sockets_bind(kinds, fixture->conf, true, NULL);

    g_assert_cmpuint(sockets->len, ==, 1);
    g_assert_cmpuint(mode_of(fixture, "sockets"), ==, 0700);
    g_assert_false(((struct daemon_socket *)g_ptr_array_index(sockets, 0))->readonly);
}

static void
test_own_sockets_are_removed_at_the_end(struct fixture *fixture, gconstpointer unused)
{
    g_ptr_array_unref(daemon_sockets_bind(kinds, fixture->conf, false, NULL));
    folder_expect_none(&fixture->folder, "sockets/virtsecretd-sock");
    folder_expect_none(&fixture->folder, "sockets/virtsecretd-sock-ro");
}

static void
test_a_socket_that_another_put_in_its_place_is_not_removed(struct fixture *fixture,
                                                           gconstpointer unused)
{
    GPtrArray *sockets = daemon_sockets_bind(kinds, fixture->conf, false, NULL);
    int fd;

    g_assert_cmpint(unlinkat(fixture->folder.fd, "sockets/virtsecretd-sock", 0), ==, 0);
    fd = listen_on(fixture, "sockets/virtsecretd-sock");
    g_ptr_array_unref(sockets);
    g_assert_true(can_connect(fixture, "sockets/virtsecretd-sock"));
    close(fd);
}

static void
test_a_socket_left_behind_is_replaced(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GPtrArray) sockets = NULL;

    g_assert_cmpint(mkdirat(fixture->folder.fd, "sockets", 0755), ==, 0);
    close(listen_on(fixture, "sockets/virtsecretd-sock"));
    g_assert_false(can_connect(fixture, "sockets/virtsecretd-sock"));
    sockets = daemon_sockets_bind(kinds, fixture->conf, false, NULL);
    g_assert_nonnull(sockets);
    g_assert_true(can_connect(fixture, "sockets/virtsecretd-sock"));
}

static void
test_a_socket_that_is_served_is_left_alone(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    int fd;

    g_assert_cmpint(mkdirat(fixture->folder.fd, "sockets", 0755), ==, 0);
    fd = listen_on(fixture, "sockets/virtsecretd-sock-ro");
    g_assert_null(daemon_sockets_bind(kinds, fixture->conf, false, &error));
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_RPC,
                      "another daemon serves the socket ");
    g_assert_true(can_connect(fixture, "sockets/virtsecretd-sock-ro"));
    /* What was already there of ours went away with the failure. */
    folder_expect_none(&fixture->folder, "sockets/virtsecretd-sock");
    close(fd);
}

#define ADD(name)                                                                                  \
    g_test_add("/daemon/sockets/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(passed_sockets_are_known_by_the_names_of_libvirts_units);
    ADD(passed_sockets_are_known_by_the_names_of_our_units);
    ADD(passed_sockets_without_names_are_known_by_their_files);
    ADD(one_passed_socket_is_enough);
    ADD(the_socket_of_administration_is_refused);
    ADD(without_variables_nothing_is_passed);
    ADD(own_sockets_have_their_modes_and_take_clients);
    ADD(a_session_has_one_socket_in_a_folder_of_its_own);
    ADD(own_sockets_are_removed_at_the_end);
    ADD(a_socket_that_another_put_in_its_place_is_not_removed);
    ADD(a_socket_left_behind_is_replaced);
    ADD(a_socket_that_is_served_is_left_alone);
    return g_test_run();
}
