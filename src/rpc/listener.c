/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see listener.h. Looking whether a path is served and binding it happen under a lock on the
 * folder, so that two daemons that start at once can't both find it free.
 */
#include "rpc/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(listener, "unlink unlinkat newfstatat");

enum {
    FOLDER_MODE = 0755,
    LOCK_TRIES = 100,
    LOCK_PAUSE_US = 100 * 1000,
    GROUP_BUFFER_MAX = 1 << 20
};

struct rpc_listener {
    char *path;
    struct stat info; /* of the file, when it was made */
    file_fd fd;
};

static bool
set_address(const char *path, struct sockaddr_un *ret_address, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path)) {
        error_set(
            error, ERROR_FROM_RPC, ERROR_OPERATION_INVALID,
            "the socket path %s is longer than %zu characters; set unix_sock_dir to a shorter "
            "one",
            path, sizeof(address.sun_path) - 1);
        return false;
    }
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    *ret_address = address;
    return true;
}

static bool
find_group(const char *group, gid_t *ret_gid, GError **error)
{
    g_autofree char *buffer = g_malloc(GROUP_BUFFER_MAX);
    struct group entry;
    struct group *found = NULL;
    guint64 number;
    int rc;

    do {
        rc = getgrnam_r(group, &entry, buffer, GROUP_BUFFER_MAX, &found);
    } while (rc == EINTR);
    if (found) {
        *ret_gid = found->gr_gid;
        return true;
    }
    if (g_ascii_string_to_unsigned(group, 10, 0, G_MAXUINT32 - 1, &number, NULL)) {
        *ret_gid = (gid_t)number;
        return true;
    }
    error_set(error, ERROR_FROM_RPC, ERROR_OPERATION_INVALID,
              "there is no group '%s'; make it, or change unix_sock_group", group);
    return false;
}

static bool
lock_folder(int dir_fd, const char *path, GError **error)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(dir_fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        g_usleep(LOCK_PAUSE_US);
    }
    error_set_errno(error, ERROR_FROM_RPC, errno, "cannot lock the folder of %s", path);
    return false;
}

static int
new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* With a full queue the answer is EAGAIN: served as well. */
static bool
is_served_to(int probe, const struct sockaddr_un *address)
{
    return probe < 0 || connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
           errno != ECONNREFUSED;
}

/* Makes room at the address: removes a socket's file that nobody serves. */
static bool
clear_address(const struct sockaddr_un *address, GError **error)
{
    g_auto(file_fd) probe = -1;
    struct stat info;

    if (lstat(address->sun_path, &info) < 0) {
        if (errno == ENOENT)
            return true;
        error_set_errno(error, ERROR_FROM_RPC, errno, "cannot examine %s", address->sun_path);
        return false;
    }
    if (!S_ISSOCK(info.st_mode)) {
        error_set(error, ERROR_FROM_RPC, ERROR_OPERATION_INVALID,
                  "%s is not a socket; remove it, or set unix_sock_dir", address->sun_path);
        return false;
    }
    probe = new_socket();
    if (is_served_to(probe, address)) {
        error_set(error, ERROR_FROM_RPC, ERROR_RESOURCE_BUSY,
                  "another daemon serves the socket %s; stop it first", address->sun_path);
        return false;
    }
    if (unlink(address->sun_path) < 0) {
        error_set_errno(error, ERROR_FROM_RPC, errno, "cannot remove the old socket %s",
                        address->sun_path);
        return false;
    }
    return true;
}

static bool
bind_and_listen(struct rpc_listener *listener, const struct sockaddr_un *address,
                const struct rpc_listener_params *params, gid_t gid, GError **error)
{
    listener->fd = new_socket();
    if (listener->fd < 0 ||
        bind(listener->fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        error_set_errno(error, ERROR_FROM_RPC, errno, "cannot bind the socket %s", params->path);
        return false;
    }
    listener->path = g_strdup(params->path);
    /* Nobody can connect before listen(). */
    if ((params->group && lchown(params->path, (uid_t)-1, gid) < 0) ||
        chmod(params->path, params->mode) < 0 || lstat(params->path, &listener->info) < 0 ||
        listen(listener->fd, (int)MIN(params->backlog, (unsigned int)SOMAXCONN)) < 0) {
        error_set_errno(error, ERROR_FROM_RPC, errno, "cannot listen on the socket %s",
                        params->path);
        return false;
    }
    return true;
}

static int
open_folder_locked(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_auto(file_fd) dir_fd = file_open_dir(folder, true, FOLDER_MODE, error);

    if (dir_fd < 0 || !lock_folder(dir_fd, path, error))
        return -1;
    return g_steal_fd(&dir_fd);
}

struct rpc_listener *
rpc_listener_new(const struct rpc_listener_params *params, GError **error)
{
    g_autoptr(rpc_listener_t) listener = g_new0(struct rpc_listener, 1);
    g_auto(file_fd) dir_fd = -1;
    struct sockaddr_un address;
    gid_t gid = 0;

    listener->fd = -1;
    if (!set_address(params->path, &address, error) ||
        (params->group && !find_group(params->group, &gid, error)))
        return NULL;
    dir_fd = open_folder_locked(params->path, error);
    if (dir_fd < 0 || !clear_address(&address, error) ||
        !bind_and_listen(listener, &address, params, gid, error))
        return NULL;
    return g_steal_pointer(&listener);
}

int
rpc_listener_take_fd(struct rpc_listener *listener)
{
    return g_steal_fd(&listener->fd);
}

/* The path may be a successor's by now: what is served stays. A daemon that confined itself can't
 * ask, and knows the file that it made. */
static bool
has_successor(const struct rpc_listener *listener, const struct sockaddr_un *address)
{
    const struct stat *made = &listener->info;
    g_auto(file_fd) probe = new_socket();
    struct stat info;

    if (probe >= 0)
        return is_served_to(probe, address);
    return lstat(address->sun_path, &info) < 0 || info.st_dev != made->st_dev ||
           info.st_ino != made->st_ino || info.st_ctim.tv_sec != made->st_ctim.tv_sec ||
           info.st_ctim.tv_nsec != made->st_ctim.tv_nsec;
}

static void
remove_file(const struct rpc_listener *listener)
{
    const char *path = listener->path;
    g_autoptr(GError) error = NULL;
    g_auto(file_fd) dir_fd = open_folder_locked(path, &error);
    struct sockaddr_un address;

    if (dir_fd < 0 || !set_address(path, &address, &error))
        log_warn("the socket %s stays behind: %s", path, error->message);
    else if (!has_successor(listener, &address) && unlink(path) < 0 && errno != ENOENT)
        log_warn("the socket %s stays behind: %s", path, g_strerror(errno));
}

void
rpc_listener_free(struct rpc_listener *listener)
{
    if (!listener)
        return;
    file_fd_clear(&listener->fd);
    if (listener->path)
        remove_file(listener);
    g_free(listener->path);
    g_free(listener);
}
