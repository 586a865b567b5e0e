/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see peer.h.
 */
#include "rpc/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(peer, "getsockopt openat read close");

/* Of /proc/PID/stat (proc(5)): the state is field 3, and the first after the command. */
enum { STAT_MAX = 1024, FIELD_STATE = 3, FIELD_START_TIME = 22 };

unsigned long long
rpc_peer_read_start_time(pid_t pid)
{
    char path[64];
    char text[STAT_MAX];
    g_auto(file_fd) fd = -1;
    ssize_t len;
    const char *field;

    g_snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    /* The command may hold anything, ')' too. */
    field = strrchr(text, ')');
    for (int number = FIELD_STATE - 1; field && number < FIELD_START_TIME; number++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

bool
rpc_peer_identify(int fd, struct rpc_identity *ret_identity, GError **error)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
        error_set_errno(error, ERROR_FROM_RPC, errno, "cannot tell who connected");
        return false;
    }
    *ret_identity = (struct rpc_identity){
        .peer_uid = cred.uid,
        .peer_gid = cred.gid,
        .peer_pid = cred.pid,
        .peer_start_time = cred.pid > 0 ? rpc_peer_read_start_time(cred.pid) : 0,
    };
    return true;
}
