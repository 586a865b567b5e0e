/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files libvirt_*.c share. For them alone.
 */
#pragma once

#include "tools/libvirt_calls.h"
#include "tools/libvirt_host.h"

/* Held by references (g_atomic_rc_box); libvirt_host_close gives one back. */
struct libvirt_host {
    struct libvirt_calls calls;
    virConnectPtr connection;
};

/* The last error of this thread. */
void libvirt_host_take_error(const struct libvirt_host *host, GError **error);
