/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sockets that the daemon binds itself: mode, group, old files, other daemons, the end.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "expect.h"
#include "folder.h"
#include "rpc/listener.h"

struct fixture {
    struct folder folder;
    char *path;
};

static void
set_up(struct fixture *on, gconstpointer unused)
{
    folder_init(&on->folder);
    on->path = folder_path(&on->folder, "libvirt/virtsecretd-sock");
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    folder_clear(&on->folder);
    g_free(on->path);
}

static struct rpc_listener *
listen_as(struct fixture *on, mode_t mode, const char *group, GError **error)
{
    struct rpc_listener_params params = {
        .path = on->path, .mode = mode, .group = group, .backlog = 10};

    return rpc_listener_new(&params, error);
}

static bool
can_connect(struct fixture *on)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected;

    g_strlcpy(address.sun_path, on->path, sizeof(address.sun_path));
    connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return connected;
}

static void
test_socket_is_made_with_mode_and_group(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *group = g_strdup_printf("%u", geteuid() == 0 ? 1 : getegid());
    g_autoptr(rpc_listener_t) listener = listen_as(on, 0760, group, &error);
    struct stat info;

    g_assert_no_error(error);
    g_assert_nonnull(listener);
    g_assert_cmpint(stat(on->path, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0760);
    g_assert_cmpuint(info.st_gid, ==, geteuid() == 0 ? 1 : getegid());
    g_assert_true(can_connect(on));
}

static void
test_group_by_name(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(rpc_listener_t) listener = NULL;
    struct stat info;

    if (geteuid() != 0) {
        g_test_skip("needs root to give a socket to a group");
        return;
    }
    listener = listen_as(on, 0770, "daemon", &error);
    g_assert_no_error(error);
    g_assert_nonnull(listener);
    g_assert_cmpint(stat(on->path, &info), ==, 0);
    g_assert_cmpuint(info.st_gid, ==, 1);
}

static void
test_unknown_group_is_refused(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(listen_as(on, 0770, "no-such-group", &error));
    expect_error(error, ERROR_OPERATION_INVALID, ERROR_FROM_RPC,
                 "there is no group 'no-such-group'; make it, or change unix_sock_group");
}

static void
test_file_is_removed_at_the_end(struct fixture *on, gconstpointer unused)
{
    rpc_listener_free(listen_as(on, 0777, NULL, NULL));
    g_assert_false(g_file_test(on->path, G_FILE_TEST_EXISTS));
}

static void
test_descriptor_outlives_the_listener(struct fixture *on, gconstpointer unused)
{
    struct rpc_listener *listener = listen_as(on, 0777, NULL, NULL);
    int fd = rpc_listener_take_fd(listener);

    g_assert_true(can_connect(on));
    rpc_listener_free(listener);
    g_assert_true(can_connect(on));
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    close(fd);
}

/* A daemon that was killed leaves its file behind. */
static void
leave_stale_socket(struct fixture *on)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *folder = g_path_get_dirname(on->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
    g_strlcpy(address.sun_path, on->path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    close(fd);
}

static void
test_stale_socket_is_replaced(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(rpc_listener_t) listener = NULL;

    leave_stale_socket(on);
    listener = listen_as(on, 0777, NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(listener);
    g_assert_true(can_connect(on));
}

static void
test_socket_that_is_served_is_left_alone(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(rpc_listener_t) first = listen_as(on, 0777, NULL, NULL);

    g_assert_nonnull(first);
    g_assert_null(listen_as(on, 0777, NULL, &error));
    expect_error_part(error, ERROR_RESOURCE_BUSY, ERROR_FROM_RPC, "another daemon serves");
    g_assert_true(can_connect(on));
}

static void
test_other_files_are_left_alone(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_path_get_dirname(on->path);

    g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
    g_assert_true(g_file_set_contents(on->path, "precious", -1, NULL));
    g_assert_null(listen_as(on, 0777, NULL, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_RPC, "is not a socket");
    g_assert_true(g_file_test(on->path, G_FILE_TEST_IS_REGULAR));
}

static void
test_successors_socket_is_not_removed(struct fixture *on, gconstpointer unused)
{
    struct rpc_listener *first = listen_as(on, 0777, NULL, NULL);
    g_autoptr(rpc_listener_t) second = NULL;

    close(rpc_listener_take_fd(first));
    second = listen_as(on, 0777, NULL, NULL);
    g_assert_nonnull(second);
    rpc_listener_free(first);
    g_assert_true(can_connect(on));
}

static void
test_path_that_is_too_long_is_refused(struct fixture *on, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = g_strnfill(120, 'x');

    g_free(on->path);
    on->path = folder_path(&on->folder, name);
    g_assert_null(listen_as(on, 0777, NULL, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_RPC,
                      "is longer than 107 characters; set unix_sock_dir");
}

#define ADD(name)                                                                                  \
    g_test_add("/rpc/listener/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(socket_is_made_with_mode_and_group);
    ADD(group_by_name);
    ADD(unknown_group_is_refused);
    ADD(file_is_removed_at_the_end);
    ADD(descriptor_outlives_the_listener);
    ADD(stale_socket_is_replaced);
    ADD(socket_that_is_served_is_left_alone);
    ADD(other_files_are_left_alone);
    ADD(successors_socket_is_not_removed);
    ADD(path_that_is_too_long_is_refused);
    return g_test_run();
}
