/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one migration of a guest by libvirt, from its start to its end: how far it is, SIGINT, and
 * the time after which the guest is suspended. Knows no keys.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "tools/job.h"
#include "tools/libvirt_host.h"

struct libvirt_migration {
    struct libvirt_host *source;
    struct libvirt_host *destination;
    const struct uuid *guest;
    unsigned long flags;        /* virDomainMigrateFlags */
    const char *uri;            /* where the source sends the memory to, or NULL */
    unsigned long long limit;   /* MiB a second, 0 for none */
    int suspend_after;          /* seconds; 0: never */
    struct job *job;            /* begun */
    void (*idle)(void *opaque); /* called now and then while it lasts */
    void *opaque;
};

/* Returns when libvirt says that it is over. After SIGINT libvirt is told to end it; if it does not
 * within a bound, that is an error (ERROR_OPERATION_TIMEOUT), and nobody knows where the guest is.
 */
bool libvirt_migration_run(const struct libvirt_migration *migration, GError **error);
