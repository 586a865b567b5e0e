/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see sockets.h.
 */
#include "daemon/sockets.h"

#include <sys/stat.h>
#include <unistd.h>

#include "rpc/activation.h"
#include "util/file.h"

/* What libvirt listens with if max_queued_clients is 0. */
enum { DEFAULT_BACKLOG = 30 };

static void
socket_free(void *opaque)
{
    struct daemon_socket *socket = opaque;

    if (socket->fd >= 0)
        close(socket->fd);
    rpc_listener_free(socket->listener);
    g_free(socket);
}

static void
add_socket(GPtrArray *sockets, int fd, bool readonly, struct rpc_listener *listener)
{
    struct daemon_socket *socket = g_new0(struct daemon_socket, 1);

    socket->fd = fd;
    socket->readonly = readonly;
    socket->listener = listener;
    g_ptr_array_add(sockets, socket);
}

GPtrArray *
daemon_sockets_take_passed(const struct daemon_socket_kind kinds[DAEMON_SOCKET_KINDS],
                           const struct daemon_conf *conf, GError **error)
{
    g_autoptr(GPtrArray) sockets = g_ptr_array_new_with_free_func(socket_free);
    struct rpc_activation passed[DAEMON_SOCKET_KINDS];
    g_auto(GStrv) paths = g_new0(char *, DAEMON_SOCKET_KINDS + 1);

    for (size_t i = 0; i < DAEMON_SOCKET_KINDS; i++) {
        paths[i] = g_build_filename(conf->unix_sock_dir, kinds[i].file, NULL);
        passed[i] = (struct rpc_activation){.names = kinds[i].units, .path = paths[i]};
    }
    if (!rpc_activation_take(passed, DAEMON_SOCKET_KINDS, error))
        return NULL;
    for (size_t i = 0; i < DAEMON_SOCKET_KINDS; i++) {
        if (passed[i].fd >= 0)
            add_socket(sockets, passed[i].fd, kinds[i].readonly, NULL);
    }
    return g_steal_pointer(&sockets);
}

/* Others must reach the sockets of the host's daemon, and nobody those of a session. */
static bool
make_folder(const char *path, bool session, GError **error)
{
    mode_t old_umask = umask(session ? 077 : 022);
    g_auto(file_fd) fd = file_open_dir(path, true, session ? 0700 : 0755, error);

    umask(old_umask);
    return fd >= 0;
}

GPtrArray *
daemon_sockets_bind(const struct daemon_socket_kind kinds[DAEMON_SOCKET_KINDS],
                    const struct daemon_conf *conf, bool session, GError **error)
{
    g_autoptr(GPtrArray) sockets = g_ptr_array_new_with_free_func(socket_free);
    size_t count = session ? 1 : (size_t)DAEMON_SOCKET_KINDS;

    if (!make_folder(conf->unix_sock_dir, session, error))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        g_autofree char *path = g_build_filename(conf->unix_sock_dir, kinds[i].file, NULL);
        const struct rpc_listener_params params = {
            .path = path,
            .mode = kinds[i].readonly ? conf->unix_sock_ro_perms : conf->unix_sock_rw_perms,
            .group = conf->unix_sock_group,
            .backlog = conf->max_queued_clients ? conf->max_queued_clients : DEFAULT_BACKLOG,
        };
        struct rpc_listener *listener = rpc_listener_new(&params, error);

        if (!listener)
            return NULL;
        add_socket(sockets, rpc_listener_take_fd(listener), kinds[i].readonly, listener);
    }
    return g_steal_pointer(&sockets);
}
