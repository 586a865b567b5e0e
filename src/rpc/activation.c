/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see activation.h.
 */
#include "rpc/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

enum { FIRST_FD = 3, FDS_MAX = 64 };

struct passed {
    unsigned int count;
    char **names; /* NULL if systemd gave none */
};

static void
passed_clear(struct passed *passed)
{
    g_strfreev(passed->names);
}

typedef struct passed passed_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(passed_t, passed_clear)

static void
remove_variables(void)
{
    g_unsetenv("LISTEN_PID");
    g_unsetenv("LISTEN_FDS");
    g_unsetenv("LISTEN_FDNAMES");
}

/* What the environment says; a count of 0 if it was not meant for this process. */
static bool
read_variables(struct passed *ret_passed, GError **error)
{
    const char *pid = g_getenv("LISTEN_PID");
    const char *count = g_getenv("LISTEN_FDS");
    const char *names = g_getenv("LISTEN_FDNAMES");
    guint64 number;

    if (!pid || !count || !g_ascii_string_to_unsigned(pid, 10, 1, G_MAXINT, &number, NULL) ||
        number != (guint64)getpid())
        return true;
    if (!g_ascii_string_to_unsigned(count, 10, 0, FDS_MAX, &number, NULL)) {
        error_set(error, ERROR_FROM_RPC, ERROR_OPERATION_INVALID,
                  "LISTEN_FDS is '%s' instead of a number up to %d", count, FDS_MAX);
        return false;
    }
    ret_passed->count = (unsigned int)number;
    if (names && number > 0)
        ret_passed->names = g_strsplit(names, ":", -1);
    if (ret_passed->names && g_strv_length(ret_passed->names) != number) {
        error_set(error, ERROR_FROM_RPC, ERROR_OPERATION_INVALID,
                  "LISTEN_FDNAMES '%s' does not name %u sockets", names, ret_passed->count);
        return false;
    }
    return true;
}

static bool
is_listening(int fd)
{
    int type = 0;
    int domain = 0;
    int listening = 0;
    socklen_t len = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

/* The same file, say by /run and by /var/run. */
static bool
is_bound_at(int fd, const char *path)
{
    struct sockaddr_un address = {0};
    socklen_t len = sizeof(address) - 1;
    struct stat bound;
    struct stat wanted;

    if (!path || getsockname(fd, (struct sockaddr *)&address, &len) < 0 ||
        address.sun_family != AF_UNIX || address.sun_path[0] != '/')
        return false;
    if (strcmp(address.sun_path, path) == 0)
        return true;
    return stat(address.sun_path, &bound) == 0 && stat(path, &wanted) == 0 &&
           bound.st_dev == wanted.st_dev && bound.st_ino == wanted.st_ino;
}

static struct rpc_activation *
find_socket(struct rpc_activation *sockets, size_t count, int fd, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (name ? g_strv_contains(sockets[i].names, name) : is_bound_at(fd, sockets[i].path))
            return &sockets[i];
    }
    return NULL;
}

static bool
assign(struct rpc_activation *sockets, size_t count, int fd, const char *name, GError **error)
{
    struct rpc_activation *found = find_socket(sockets, count, fd, name);
    g_autofree char *what =
        name ? g_strdup_printf("the socket '%s'", name) : g_strdup_printf("descriptor %d", fd);

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !is_listening(fd))
        error_set(error, ERROR_FROM_RPC, ERROR_OPERATION_INVALID,
                  "%s, which systemd passed, is no listening Unix socket", what);
    else if (!found)
        error_set(error, ERROR_FROM_RPC, ERROR_OPERATION_INVALID,
                  "%s, which systemd passed, is none that this daemon serves; check the socket "
                  "units' Service= and FileDescriptorName=",
                  what);
    else if (found->fd >= 0)
        error_set(error, ERROR_FROM_RPC, ERROR_OPERATION_INVALID, "%s was passed twice", what);
    else {
        found->fd = fd;
        return true;
    }
    return false;
}

bool
rpc_activation_take(struct rpc_activation *sockets, size_t count, GError **error)
{
    g_auto(passed_t) passed = {0};
    bool taken = read_variables(&passed, error);

    for (size_t i = 0; i < count; i++)
        sockets[i].fd = -1;
    remove_variables();
    for (unsigned int i = 0; taken && i < passed.count; i++)
        taken =
            assign(sockets, count, FIRST_FD + (int)i, passed.names ? passed.names[i] : NULL, error);
    if (taken)
        return true;
    for (unsigned int i = 0; i < passed.count; i++)
        close(FIRST_FD + (int)i);
    for (size_t i = 0; i < count; i++)
        sockets[i].fd = -1;
    return false;
}
