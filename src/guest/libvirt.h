/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the connection to libvirt: its public API on threads of its own, events, reconnecting. A
 * call waits no longer than a bound (ERROR_OPERATION_TIMEOUT), whatever libvirt does; what it was
 * about may still happen then. Thread-safe. Nothing that libvirtd waits for (hook, connector) may
 * wait for this.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

struct guest_libvirt;

enum guest_libvirt_event {
    GUEST_LIBVIRT_CONNECTED, /* at first, and again: everything may have changed; no uuid */
    GUEST_LIBVIRT_LOST,      /* no uuid */
    GUEST_LIBVIRT_CHANGED,   /* something became of that domain: defined, started, undefined, ... */
    GUEST_LIBVIRT_STARTED,   /* the same: it was started, or goes on */
    GUEST_LIBVIRT_MIGRATED,  /* it stopped here because it runs elsewhere now */
};
/* In a thread of libvirt's loop: it must not wait nor call back. */
typedef void (*guest_libvirt_func)(void *opaque, enum guest_libvirt_event event,
                                   const struct uuid *guest);

struct guest_libvirt *guest_libvirt_new(const char *uri, guest_libvirt_func on_event, void *opaque);
/* From now on no event is reported; calls, also those that others wait in, fail with
 * ERROR_OPERATION_ABORTED. */
void guest_libvirt_stop(struct guest_libvirt *libvirt);
/* Ends its threads within a bound; one that hangs in a call is left behind. */
void guest_libvirt_free(struct guest_libvirt *libvirt);
const char *guest_libvirt_uri(const struct guest_libvirt *libvirt);
/* Why there is no connection, or NULL. Free. */
char *guest_libvirt_problem(struct guest_libvirt *libvirt);

/* What libvirt knows of one domain. */
struct guest_seen {
    struct uuid uuid;
    char *name;
    bool is_active;
    bool is_persistent;
    bool is_migrating; /* it comes or goes right now, or that is not known; not in a list */
    GPtrArray *xmls;   /* of char *: as it would start, as it runs, managed save, snapshots,
                        * checkpoints: all that may refer to a secret. Not secure ones. */
};
void guest_seen_free(struct guest_seen *seen);
/* All domains, of struct guest_seen, in the order of uuids. An error: nothing is known. */
GPtrArray *guest_libvirt_list(struct guest_libvirt *libvirt, GError **error);
/* NULL with ERROR_NO_DOMAIN is libvirt's own positive answer; other errors tell nothing. */
struct guest_seen *guest_libvirt_find(struct guest_libvirt *libvirt, const struct uuid *guest,
                                      GError **error);

/* virDomainDefineXMLFlags, virDomainCreateXML; libvirt's errors. */
bool guest_libvirt_define(struct guest_libvirt *libvirt, const char *xml, unsigned int flags,
                          struct uuid *ret_uuid, GError **error);
bool guest_libvirt_create(struct guest_libvirt *libvirt, const char *xml, unsigned int flags,
                          struct uuid *ret_uuid, GError **error);

/* Those that libvirt is to start at boot and that do not run: as guest_libvirt_list, in any order.
 */
GPtrArray *guest_libvirt_list_unstarted(struct guest_libvirt *libvirt, GError **error);
/* virDomainCreate; libvirt's errors. */
bool guest_libvirt_start(struct guest_libvirt *libvirt, const struct uuid *guest, GError **error);

typedef struct guest_libvirt guest_libvirt_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(guest_libvirt_t, guest_libvirt_free)
typedef struct guest_seen guest_seen_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(guest_seen_t, guest_seen_free)
