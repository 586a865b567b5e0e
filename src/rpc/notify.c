/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see notify.h.
 */
#include "rpc/notify.h"

#include <errno.h>
#include <glib.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/file.h"
#include "util/log.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(notify, "socket sendto close");

static bool
send_state(const char *path, const char *state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    g_auto(file_fd) fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (len < 2 || len >= sizeof(address.sun_path)) {
        errno = EINVAL;
        return false;
    }
    memcpy(address.sun_path, path, len);
    /* '@' stands for the NUL of the abstract namespace. */
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    return fd >= 0 && sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                             (const struct sockaddr *)&address,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) >= 0;
}

static void
notify(const char *state)
{
    const char *path = g_getenv("NOTIFY_SOCKET");

    if (path && !send_state(path, state))
        log_warn("cannot tell systemd '%s' on %s: %s", state, path, g_strerror(errno));
}

void
rpc_notify_ready(void)
{
    notify("READY=1");
}

void
rpc_notify_reloading(void)
{
    g_autofree char *state =
        g_strdup_printf("RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time());

    notify(state);
}

void
rpc_notify_stopping(void)
{
    notify("STOPPING=1");
}
