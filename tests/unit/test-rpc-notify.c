/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What systemd is told, on sockets of both kinds.
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "folder.h"
#include "rpc/notify.h"

struct fixture {
    struct folder folder;
    int fd;
};

/* Stands for systemd: `path` with '@' is an abstract name. */
static void
listen_on(struct fixture *on, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    g_assert_cmpint(bind(on->fd, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                    ==, 0);
    g_setenv("NOTIFY_SOCKET", path, TRUE);
}

static void
set_up(struct fixture *on, gconstpointer unused)
{
    folder_init(&on->folder);
    on->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static void
tear_down(struct fixture *on, gconstpointer unused)
{
    g_unsetenv("NOTIFY_SOCKET");
    close(on->fd);
    folder_clear(&on->folder);
}

static char *
receive(struct fixture *on)
{
    char text[200] = {0};

    g_assert_cmpint(recv(on->fd, text, sizeof(text) - 1, MSG_DONTWAIT), >, 0);
    return g_strdup(text);
}

static void
test_states_are_told(struct fixture *on, gconstpointer unused)
{
    g_autofree char *path = folder_path(&on->folder, "notify");
    g_autofree char *ready = NULL;
    g_autofree char *reloading = NULL;
    g_autofree char *stopping = NULL;

    listen_on(on, path);
    rpc_notify_ready();
    rpc_notify_reloading();
    rpc_notify_stopping();
    ready = receive(on);
    reloading = receive(on);
    stopping = receive(on);
    g_assert_cmpstr(ready, ==, "READY=1");
    g_assert_true(g_str_has_prefix(reloading, "RELOADING=1\nMONOTONIC_USEC="));
    g_assert_cmpint(g_ascii_strtoll(strrchr(reloading, '=') + 1, NULL, 10), >, 0);
    g_assert_cmpstr(stopping, ==, "STOPPING=1");
}

static void
test_abstract_socket(struct fixture *on, gconstpointer unused)
{
    g_autofree char *name = g_strdup_printf("@virtcrypt-test-%d", getpid());
    g_autofree char *ready = NULL;

    listen_on(on, name);
    rpc_notify_ready();
    ready = receive(on);
    g_assert_cmpstr(ready, ==, "READY=1");
}

static void
test_no_systemd_is_no_error(struct fixture *on, gconstpointer unused)
{
    g_unsetenv("NOTIFY_SOCKET");
    rpc_notify_ready();
    g_setenv("NOTIFY_SOCKET", "/nonexistent/socket", TRUE);
    rpc_notify_ready();
}

#define ADD(name)                                                                                  \
    g_test_add("/rpc/notify/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(states_are_told);
    ADD(abstract_socket);
    ADD(no_systemd_is_no_error);
    return g_test_run();
}
