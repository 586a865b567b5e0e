/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what every module of ours does that libvirtd loads in the place of its own: a look at the
 * libvirt that loads it, loading libvirt's own module, errors and log lines by libvirt's functions.
 */
#pragma once

#include <glib.h>

#include "driver/libvirt_tables.h"

/* Returns why this libvirt can't be used (the caller frees it), or NULL after filling in the
 * `count` members of `ret_symbols` that `wanted` names. */
char *libvirt_module_check(const struct libvirt_symbol *wanted, size_t count,
                           struct libvirt_symbols *ret_symbols, unsigned long *ret_version);

/* Loads libvirt's own module `name` ("libvirt_driver_secret.so") for ever and calls its function
 * `register_name`, which is not `ours`. Returns what went wrong (the caller frees it), or NULL. */
char *libvirt_module_load_own(const char *name, const char *register_name, int (*ours)(void));

/* A line to stderr, which systemd puts into the journal: for when libvirt's log can't be relied on,
 * because it is not set up yet or not known. */
void libvirt_module_say(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Sets the thread's libvirt error: a virErrorDomain, a virErrorNumber, a complete text. `number` is
 * the errno of VIR_ERR_SYSTEM_ERROR, else -1. */
void libvirt_module_set_error(const struct libvirt_symbols *libvirt, int domain, int code,
                              int number, const char *text);

/* Sets the thread's error to `take_error` (NULL: nothing), which it frees. For after the freeing of
 * libvirt objects, which resets the thread's error. */
void libvirt_module_restore_error(const struct libvirt_symbols *libvirt, virErrorPtr take_error);

/* A warning in libvirtd's own log. `source` lives as long as the process. */
void libvirt_module_warn(const struct libvirt_symbols *libvirt, struct libvirt_log_source *source,
                         const char *text);
