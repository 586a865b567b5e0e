/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see sandbox.h.
 */
#include "daemon/sandbox.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <time.h>

#include "daemon/own_user.h"
#include "daemon/sandbox_calls.h"
#include "util/log.h"

/* What any daemon reads: time zones, processes of clients, and how many processors there are, for
 * memory's sake; what it writes: nothing, to the full. */
static const struct sandbox_path common_paths[] = {
    {"/proc", SANDBOX_READ},
    {"/etc/localtime", SANDBOX_READ},
    {"/usr/share/zoneinfo", SANDBOX_READ},
    {"/sys/devices/system/cpu/online", SANDBOX_READ},
    {"/dev/null", SANDBOX_WRITE},
};

static void
confine_to_folders(const struct sandbox_path *paths, size_t count)
{
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(struct sandbox_path));
    g_autofree char *missing = NULL;
    g_autoptr(GError) error = NULL;

    g_array_append_vals(all, common_paths, G_N_ELEMENTS(common_paths));
    g_array_append_vals(all, paths, (guint)count);
    if (!sandbox_paths_confine((const struct sandbox_path *)(void *)all->data, all->len, &missing,
                               &error))
        log_warn("all folders that root's files can be in stay open to this process: %s",
                 error->message);
    else if (missing)
        log_info("the kernel's Landlock is too old to confine: %s", missing);
}

/* The leak sanitizer stops the process and its threads, and looks into them by ptrace and /proc. */
#ifdef WITH_SANITIZERS
static const bool is_watched = true;
#else
static const bool is_watched = false;
#endif

void
sandbox_enter(const struct sandbox_path *paths, size_t count)
{
    g_autoptr(GError) caps_error = NULL;
    g_autoptr(GError) calls_error = NULL;

    /* glibc loads a character set's module for the first text of the system's. */
    (void)g_strerror(EPERM);
    tzset();
    if (is_watched)
        return;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        log_warn("cannot give up new privileges: %s", g_strerror(errno));
    if (!own_user_drop_capabilities(&caps_error))
        log_warn("%s", caps_error->message);
    confine_to_folders(paths, count);
    if (!sandbox_calls_filter(&calls_error))
        log_warn("all system calls stay open to this process: %s", calls_error->message);
}
