/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the parts of the secret connector share: libvirt's functions, the daemon's address,
 * and the way errors and log lines reach libvirt. There is one per process, because libvirt calls
 * a driver's functions with nothing of the driver's own.
 */
#pragma once

#include <glib.h>

#include "driver/libvirt_tables.h"

struct secret_backends;
struct secret_events;

struct secret_module {
    struct libvirt_symbols libvirt;
    char *socket;    /* path of the daemon's socket */
    char *uri;       /* the same for virConnectOpen */
    int stuck_opens; /* atomic: threads that still wait for a daemon that does not answer */
    struct secret_backends *backends;
    struct secret_events *events;
};

/* Valid once secretRegister has put the connector in place. */
struct secret_module *secret_module_get(void);

/* Sets the thread's libvirt error. `code` is a virErrorNumber. */
void secret_module_error(const struct secret_module *module, int code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Sets the thread's libvirt error to `cause` with our explanation before its text. */
void secret_module_error_unreachable(const struct secret_module *module, const virError *cause);

/* A warning in libvirtd's own log. */
void secret_module_warn(const struct secret_module *module, const char *format, ...)
    G_GNUC_PRINTF(2, 3);
