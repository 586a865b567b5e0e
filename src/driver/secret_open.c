/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see secret_open.h. The open runs in a thread of its own. One that is not done in time is
 * left to itself and closes what it may still get; only a few are allowed to hang like that, then
 * further ones fail at once.
 */
#include "driver/secret_open.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STUCK_OPENS_MAX 4

/* Shared by the thread that opens and the one that waits; the last one frees it. */
struct open_job {
    gatomicrefcount refs;
    struct secret_module *module;
    bool read_only;
    GMutex lock;
    GCond ended_cond;
    bool is_ended;     /* connection or error are set */
    bool is_abandoned; /* nobody waits any more */
    virConnectPtr connection;
    virErrorPtr error;
};

static void
open_job_unref(struct open_job *job)
{
    if (!g_atomic_ref_count_dec(&job->refs))
        return;
    if (job->connection)
        virConnectClose(job->connection);
    virFreeError(job->error);
    g_mutex_clear(&job->lock);
    g_cond_clear(&job->ended_cond);
    g_free(job);
}

static gpointer
open_job_main(gpointer opaque)
{
    struct open_job *job = opaque;
    const char *uri = job->module->uri;
    virConnectPtr connection = job->read_only ? virConnectOpenReadOnly(uri) : virConnectOpen(uri);
    virErrorPtr error = connection ? NULL : virSaveLastError();

    /* Refused only where no event loop runs, as in no libvirtd. */
    if (connection)
        virConnectSetKeepAlive(connection, SECRET_OPEN_PING_S, SECRET_OPEN_PINGS);
    g_mutex_lock(&job->lock);
    job->connection = connection;
    job->error = error;
    job->is_ended = true;
    if (job->is_abandoned)
        g_atomic_int_add(&job->module->stuck_opens, -1);
    g_cond_signal(&job->ended_cond);
    g_mutex_unlock(&job->lock);
    open_job_unref(job);
    return NULL;
}

static struct open_job *
open_job_start(struct secret_module *module, bool read_only)
{
    struct open_job *job = g_new0(struct open_job, 1);
    GThread *thread = NULL;

    g_atomic_ref_count_init(&job->refs);
    g_atomic_ref_count_inc(&job->refs);
    g_mutex_init(&job->lock);
    g_cond_init(&job->ended_cond);
    job->module = module;
    job->read_only = read_only;
    thread = g_thread_try_new("secret-open", open_job_main, job, NULL);
    if (!thread) {
        open_job_unref(job);
        open_job_unref(job);
        return NULL;
    }
    g_thread_unref(thread);
    return job;
}

/* False when the bound has passed: the job is left to itself then. */
static bool
open_job_wait(struct open_job *job)
{
    gint64 deadline = g_get_monotonic_time() + SECRET_OPEN_BOUND_S * G_TIME_SPAN_SECOND;
    bool is_ended;

    g_mutex_lock(&job->lock);
    while (!job->is_ended && g_cond_wait_until(&job->ended_cond, &job->lock, deadline))
        continue;
    is_ended = job->is_ended;
    if (!is_ended) {
        job->is_abandoned = true;
        g_atomic_int_inc(&job->module->stuck_opens);
    }
    g_mutex_unlock(&job->lock);
    return is_ended;
}

virConnectPtr
secret_open(struct secret_module *module, bool read_only)
{
    struct open_job *job = NULL;
    virConnectPtr connection = NULL;
    bool is_ended = false;

    if (g_atomic_int_get(&module->stuck_opens) < STUCK_OPENS_MAX) {
        job = open_job_start(module, read_only);
        if (!job) {
            secret_module_error(module, VIR_ERR_SYSTEM_ERROR,
                                "no thread to connect to virtcrypt-secretd with");
            return NULL;
        }
        is_ended = open_job_wait(job);
    }
    if (!is_ended)
        secret_module_error(module, VIR_ERR_OPERATION_TIMEOUT,
                            "virtcrypt-secretd does not answer on '%s' (why: journalctl -u "
                            "virtcrypt-secretd; restart it: systemctl restart "
                            "virtcrypt-secretd.service)",
                            module->socket);
    else if (job->connection)
        connection = g_steal_pointer(&job->connection);
    else
        secret_module_error_unreachable(module, job->error);
    if (job)
        open_job_unref(job);
    return connection;
}

bool
secret_open_is_possible(const struct secret_module *module)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool is_possible = false;
    int fd;

    if (strlen(module->socket) >= sizeof(address.sun_path))
        return true; /* for libvirt to complain about */
    memcpy(address.sun_path, module->socket, strlen(module->socket));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    is_possible = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ||
                  errno == EAGAIN; /* too many wait already */
    close(fd);
    return is_possible;
}
