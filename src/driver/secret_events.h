/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: event registrations of libvirtd's clients, each on a connection to the daemon of its own.
 * When that is lost, a thread renews it until the daemon is back, so a registration outlives any
 * number of restarts of the daemon; what happens meanwhile is not told.
 */
#pragma once

#include "driver/secret_module.h"

struct secret_events;

/* As in virConnectSecretEventRegisterAny. */
struct secret_event_params {
    virConnectPtr conn;
    virSecretPtr secret; /* NULL: events of all secrets */
    int event;           /* a virSecretEventID */
    virConnectSecretEventGenericCallback callback;
    void *opaque;
    virFreeCallback free_opaque;
};

struct secret_events *secret_events_new(struct secret_module *module);

/* Returns the registration's number, or -1 with the thread's libvirt error set and `opaque` still
 * the caller's. The callback is called in libvirtd's event loop. */
int secret_events_register(struct secret_events *events, const struct secret_event_params *params);

/* Returns 0, or -1 with the thread's libvirt error set if `conn` has no such registration. */
int secret_events_deregister(struct secret_events *events, virConnectPtr conn, int id);
