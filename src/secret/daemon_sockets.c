/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the daemon's sockets.
 */
#include "secret/daemon_sockets.h"

#include <sys/stat.h>
#include <unistd.h>

#include "rpc/activation.h"
#include "util/file.h"

/* What libvirt listens with if max_queued_clients is 0. */
enum { DEFAULT_BACKLOG = 30 };

enum { KIND_COUNT = 2 };

static const struct {
    const char *file;
    const char *names[3]; /* of the units of libvirt and ours */
    bool readonly;
} kinds[] = {
    {"virtsecretd-sock", {"virtsecretd.socket", "virtcrypt-secretd.socket", NULL}, false},
    {"virtsecretd-sock-ro", {"virtsecretd-ro.socket", "virtcrypt-secretd-ro.socket", NULL}, true},
};
G_STATIC_ASSERT(G_N_ELEMENTS(kinds) == KIND_COUNT);

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
daemon_sockets_take_passed(const struct daemon_conf *conf, GError **error)
{
    g_autoptr(GPtrArray) sockets = g_ptr_array_new_with_free_func(socket_free);
    struct rpc_activation passed[KIND_COUNT];
    g_auto(GStrv) paths = g_new0(char *, KIND_COUNT + 1);

    for (size_t i = 0; i < KIND_COUNT; i++) {
        paths[i] = g_build_filename(conf->unix_sock_dir, kinds[i].file, NULL);
        passed[i] = (struct rpc_activation){.names = kinds[i].names, .path = paths[i]};
    }
    if (!rpc_activation_take(passed, KIND_COUNT, error))
        return NULL;
    for (size_t i = 0; i < KIND_COUNT; i++) {
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
daemon_sockets_bind(const struct daemon_conf *conf, bool session, GError **error)
{
    g_autoptr(GPtrArray) sockets = g_ptr_array_new_with_free_func(socket_free);
    size_t count = session ? 1 : KIND_COUNT;

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
