/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: for tests of those who ask the custodian: a real one (secretd.h) that runs in a thread of
 * its own, with its socket and the folder of the token.
 */
#pragma once

#include <sys/un.h>

#include "secretd.h"

struct custodian_thread {
    struct secretd secretd;
    char *socket;
    char *token_dir;
    GThread *thread; /* NULL: the custodian does nothing */
    gint is_ending;
};

static inline int
custodian_thread_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(path);
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 64), ==, 0);
    return fd;
}

static inline gpointer
custodian_thread_serve(gpointer opaque)
{
    struct custodian_thread *custodian = opaque;

    while (!g_atomic_int_get(&custodian->is_ending))
        loop_run(custodian->secretd.host.loop);
    return NULL;
}

static inline void
custodian_thread_run(struct custodian_thread *custodian)
{
    g_atomic_int_set(&custodian->is_ending, 0);
    custodian->thread = g_thread_new("custodian", custodian_thread_serve, custodian);
}

static inline void
custodian_thread_pause(struct custodian_thread *custodian)
{
    if (!custodian->thread)
        return;
    g_atomic_int_set(&custodian->is_ending, 1);
    loop_post(custodian->secretd.host.loop, rpc_host_quit, custodian->secretd.host.loop);
    g_thread_join(g_steal_pointer(&custodian->thread));
}

/* As a restart with a master key that is none. */
static inline void
custodian_thread_lock(struct custodian_thread *custodian)
{
    struct secretd *secretd = &custodian->secretd;

    custodian_thread_pause(custodian);
    secret_service_free(secretd->service);
    secret_events_free(secretd->events);
    folder_put_text(&secretd->folder, "master.key", "short");
    secretd_open_service(secretd, SECRET_READBACK_NEVER);
    secretd->dispatch.service = secretd->service;
    secretd->dispatch.events = secretd->events;
    custodian_thread_run(custodian);
}

static inline void
custodian_thread_init(struct custodian_thread *custodian)
{
    g_autoptr(GError) error = NULL;

    secretd_init(&custodian->secretd, SECRET_READBACK_NEVER, 0);
    custodian->socket = folder_path(&custodian->secretd.folder, "virtsecretd-sock");
    custodian->token_dir = folder_path(&custodian->secretd.folder, "common");
    g_assert_cmpint(g_mkdir(custodian->token_dir, 0700), ==, 0);
    folder_put_text(&custodian->secretd.folder, "common/system.token", TOKEN);
    rpc_server_add_listener(custodian->secretd.host.server,
                            custodian_thread_listen(custodian->socket), false, RPC_AUTH_NONE,
                            &error);
    g_assert_no_error(error);
    custodian_thread_run(custodian);
}

static inline void
custodian_thread_clear(struct custodian_thread *custodian)
{
    custodian_thread_pause(custodian);
    g_free(custodian->socket);
    g_free(custodian->token_dir);
    secretd_clear(&custodian->secretd);
}
