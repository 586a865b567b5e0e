/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files libvirt*.c share. Inside src/guest only.
 */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdbool.h>

#include "guest/libvirt.h"

/* Counted, because a thread that hangs in libvirt outlives its owner. */
struct guest_libvirt {
    gint refs;
    char *uri;
    GMutex mutex;
    GCond changed;       /* any of the fields below */
    bool is_ended;       /* by the owner: nothing begins any more, and waiters return */
    virConnectPtr conn;  /* or NULL; who uses it without the mutex has a reference of its own */
    bool is_lost;        /* `conn` is of no use any more */
    char *problem;       /* why there was none at the last try, or NULL */
    gint64 trying_since; /* monotonic; 0: no try is under way */
    virConnectPtr busy;  /* the last one with a call under way, or NULL; to compare alone */
    unsigned int calls;  /* under way, those that nobody waits for any more among them */
    bool has_connection_thread;
    bool has_event_thread;

    GMutex emit_mutex;           /* held while on_event runs, so that it does not after the end */
    guest_libvirt_func on_event; /* NULL: ended */
    void *opaque;
};

struct guest_libvirt *guest_libvirt_ref(struct guest_libvirt *libvirt);
void guest_libvirt_unref(struct guest_libvirt *libvirt);
void guest_libvirt_emit(struct guest_libvirt *libvirt, enum guest_libvirt_event event,
                        const struct uuid *guest);

/* ---- libvirt_connection.c: the two threads ---- */

void guest_libvirt_start_threads(struct guest_libvirt *libvirt);
/* Waits within a bound for them to end. */
void guest_libvirt_end_threads(struct guest_libvirt *libvirt);

/* ---- libvirt_call.c ---- */

/* One call: what goes in and what comes out, until the last of caller and thread drops it. */
struct libvirt_call {
    gint refs;
    bool (*run)(struct libvirt_call *call, GError **error); /* in a thread of its own */
    const char *what;                                       /* for texts: "listing guests" */
    unsigned int bound_s;
    virConnectPtr conn;
    struct guest_libvirt *libvirt;
    bool is_done; /* under libvirt->mutex */
    bool is_good;
    GError *error;

    struct uuid guest; /* in or out */
    char *xml;         /* in, or NULL */
    unsigned int flags;
    GPtrArray *found; /* out, of struct guest_seen, or NULL */
};

struct libvirt_call *guest_libvirt_call_new(bool (*run)(struct libvirt_call *, GError **),
                                            const char *what);
void guest_libvirt_call_unref(struct libvirt_call *call);
/* Runs it and waits for it within its bound; the fields of a call that came back are the caller's
 * alone. */
bool guest_libvirt_call_run(struct guest_libvirt *libvirt, struct libvirt_call *call,
                            GError **error);
/* libvirt's last error in this thread. */
void guest_libvirt_set_error(GError **error);

typedef struct libvirt_call libvirt_call_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(libvirt_call_t, guest_libvirt_call_unref)

/* ---- libvirt_look.c ---- */

/* What a domain has, so that nothing else is asked for. */
struct libvirt_traits {
    bool is_active;
    bool is_persistent;
    bool has_saved_image;
    bool has_snapshots;
    bool has_checkpoints;
};
bool guest_libvirt_get_traits(virDomainPtr domain, struct libvirt_traits *ret_traits,
                              GError **error);
struct guest_seen *guest_libvirt_look(virDomainPtr domain, const struct libvirt_traits *traits,
                                      GError **error);
/* Of an active domain; what can't be asked counts as yes. */
bool guest_libvirt_is_migrating(virDomainPtr domain);
/* Whether libvirt says that it is there no more. */
bool guest_libvirt_is_gone(virDomainPtr domain);
