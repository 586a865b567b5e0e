/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the parts of the storage connector share: libvirt's functions, the functions of
 * libvirt's own storage driver that ours stand before, and the way errors and log lines reach
 * libvirt. There is one per process, because libvirt calls a driver's functions with nothing of the
 * driver's own.
 */
#pragma once

#include <glib.h>

#include "driver/libvirt_tables.h"

struct storage_clients;
struct storage_streams;

struct storage_module {
    struct libvirt_symbols libvirt;
    struct libvirt_storage_driver original; /* a copy, made before ours went in */
    struct storage_clients *clients;
    struct storage_streams *streams;
};

/* Valid once storageRegister has put the connector in place. */
struct storage_module *storage_module_get(void);

/* libvirt's own functions. */
static inline const struct libvirt_storage_driver *
storage_module_original(void)
{
    return &storage_module_get()->original;
}

/* Sets the thread's libvirt error to `error`, which stays the caller's. */
void storage_module_set_error(const GError *error);

/* The same for one of our own; `code` is a virErrorNumber, the text complete. */
void storage_module_error(int code, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A warning in libvirtd's own log. */
void storage_module_warn(const char *format, ...) G_GNUC_PRINTF(1, 2);
