/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the floor below which no daemon on this machine can get: a bare exchange of messages of a
 * lookup's sizes over AF_UNIX, with an epoll server that does epoll_wait, recv and send for each.
 */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    REQUEST_LEN = 28 + 16,            /* lookup by uuid */
    REPLY_LEN = 28 + 16 + 4 + 4 + 28, /* uuid, usage type, usage id */
    EVENTS = 16,
};

static void
serve_client(int epoll_fd, int fd)
{
    static uint8_t bytes[65536];
    ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

    if (got <= 0) {
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        close(fd);
        return;
    }
    if (got == REQUEST_LEN)
        (void)load_write_all(fd, bytes, REPLY_LEN);
}

static void
serve(int listener)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        _exit(1);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != listener) {
                serve_client(epoll_fd, events[i].data.fd);
                continue;
            }
            event.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (event.data.fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
                close(event.data.fd);
        }
    }
}

int
load_floor_start_server(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    if (listener < 0 || strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path));
    if (bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 64) < 0) {
        close(listener);
        return -1;
    }
    pid = fork();
    if (pid == 0)
        serve(listener);
    close(listener);
    return pid;
}

static void *
floor_open(const struct load_params *params, unsigned int client, char *error)
{
    int *fd = malloc(sizeof(*fd));

    (void)client;
    if (!fd)
        return NULL;
    *fd = load_connect(params->socket, error);
    if (*fd < 0) {
        free(fd);
        return NULL;
    }
    return fd;
}

static bool
floor_call(void *connection, enum load_op op, uint32_t index, char *error)
{
    const int *fd = connection;
    uint8_t bytes[REPLY_LEN] = {0};

    (void)op;
    (void)index;
    if (load_write_all(*fd, bytes, REQUEST_LEN) && load_read_all(*fd, bytes, REPLY_LEN))
        return true;
    snprintf(error, LOAD_ERROR_SIZE, "the floor's server is gone: %s", strerror(errno));
    return false;
}

static bool
floor_undo(void *connection, uint32_t index, char *error)
{
    (void)connection;
    (void)index;
    (void)error;
    return true;
}

static void
floor_close(void *connection)
{
    int *fd = connection;

    close(*fd);
    free(fd);
}

const struct load_backend load_backend_floor = {
    .name = "floor",
    .open = floor_open,
    .call = floor_call,
    .undo = floor_undo,
    .close = floor_close,
};
