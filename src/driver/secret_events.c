/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see secret_events.h.
 *
 * Invariant: events->lock is never held while libvirt is called, since libvirt may call back. A
 * registration is freed by the last of those who know it: the table, the renewing thread, and
 * libvirt's client, which keeps it for each callback until it is sure not to call it any more.
 */
#include "driver/secret_events.h"

#include <string.h>

#include "driver/libvirt_module.h"
#include "driver/secret_backend.h"
#include "driver/secret_open.h"

#define RENEW_INTERVAL_US (500 * G_TIME_SPAN_MILLISECOND)

struct secret_events {
    struct secret_module *module;
    GMutex lock;
    GHashTable *by_id; /* of struct registration */
    int last_id;
    bool is_renewing;
};

struct registration {
    gatomicrefcount refs;
    struct secret_events *events;
    int id;
    virConnectPtr conn; /* libvirtd's */
    int event;
    bool has_filter; /* by the three below */
    unsigned char uuid[VIR_UUID_BUFLEN];
    int usage_type;
    char *usage_id;
    virConnectSecretEventGenericCallback callback;
    void *opaque;
    virFreeCallback free_opaque;
    struct secret_identity identity; /* of who registered */

    /* Under events->lock. */
    virConnectPtr theirs; /* to the daemon; NULL while it is made */
    int their_id;
    bool is_lost;
    bool is_cancelled;
};

static void
registration_unref(void *opaque)
{
    struct registration *self = opaque;

    if (!g_atomic_ref_count_dec(&self->refs))
        return;
    if (self->free_opaque)
        self->free_opaque(self->opaque);
    virConnectClose(self->conn);
    secret_identity_clear(&self->identity);
    g_free(self->usage_id);
    g_free(self);
}

static struct registration *
registration_ref(struct registration *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

/* Whether callbacks still go to the client that registered. */
static bool
registration_is_wanted(struct registration *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->events->lock);

    return !self->is_cancelled;
}

static virSecretPtr
as_our_secret(const struct registration *self, virSecretPtr theirs)
{
    unsigned char uuid[VIR_UUID_BUFLEN];

    if (virSecretGetUUID(theirs, uuid) < 0)
        return NULL;
    return self->events->module->libvirt.get_secret(self->conn, uuid, virSecretGetUsageType(theirs),
                                                    virSecretGetUsageID(theirs));
}

static void
on_lifecycle(virConnectPtr theirs, virSecretPtr secret, int event, int detail, void *opaque)
{
    struct registration *self = opaque;
    virSecretPtr ours = registration_is_wanted(self) ? as_our_secret(self, secret) : NULL;
    virConnectSecretEventLifecycleCallback callback =
        (virConnectSecretEventLifecycleCallback)(void (*)(void))self->callback;

    if (!ours)
        return;
    callback(self->conn, ours, event, detail, self->opaque);
    virSecretFree(ours);
}

static void
on_value_changed(virConnectPtr theirs, virSecretPtr secret, void *opaque)
{
    struct registration *self = opaque;
    virSecretPtr ours = registration_is_wanted(self) ? as_our_secret(self, secret) : NULL;

    if (!ours)
        return;
    self->callback(self->conn, ours, self->opaque);
    virSecretFree(ours);
}

static void renew_lost(struct secret_events *events);

static void
on_closed(virConnectPtr theirs, int reason, void *opaque)
{
    struct registration *self = opaque;
    struct secret_events *events = self->events;
    bool is_first = false;

    g_mutex_lock(&events->lock);
    if (!self->is_cancelled) {
        self->is_lost = true;
        is_first = !events->is_renewing;
        events->is_renewing = true;
    }
    g_mutex_unlock(&events->lock);
    if (is_first)
        renew_lost(events);
}

/* Also of a connection that is dead: libvirt keeps it as long as callbacks are registered on it. */
static void
hang_up(virConnectPtr theirs, int their_id)
{
    if (their_id >= 0)
        virConnectSecretEventDeregisterAny(theirs, their_id);
    virConnectUnregisterCloseCallback(theirs, on_closed);
    virConnectClose(theirs);
}

/* Registers on a fresh connection; returns the daemon's number, or -1. */
static int
register_on(struct registration *self, virConnectPtr theirs)
{
    const struct secret_module *module = self->events->module;
    virConnectSecretEventGenericCallback callback =
        self->event == VIR_SECRET_EVENT_ID_LIFECYCLE
            ? (virConnectSecretEventGenericCallback)(void (*)(void))on_lifecycle
            : on_value_changed;
    virSecretPtr filter = NULL;
    virErrorPtr error = NULL;
    int their_id = -1;

    if (self->identity.mark &&
        virConnectSetIdentity(theirs, self->identity.params, self->identity.count, 0) < 0)
        return -1;
    if (virConnectRegisterCloseCallback(theirs, on_closed, registration_ref(self),
                                        registration_unref) < 0) {
        registration_unref(self);
        return -1;
    }
    if (self->has_filter)
        filter = module->libvirt.get_secret(theirs, self->uuid, self->usage_type, self->usage_id);
    their_id = virConnectSecretEventRegisterAny(theirs, filter, self->event, callback,
                                                registration_ref(self), registration_unref);
    if (their_id < 0) {
        error = virSaveLastError();
        registration_unref(self);
    }
    if (filter)
        virSecretFree(filter);
    libvirt_module_restore_error(&module->libvirt, error);
    return their_id;
}

/* False with the thread's libvirt error set. */
static bool
connect_registration(struct registration *self)
{
    struct secret_events *events = self->events;
    virConnectPtr theirs = secret_open(events->module, false);
    int their_id;
    bool is_wanted;

    if (!theirs)
        return false;
    their_id = register_on(self, theirs);
    if (their_id < 0) {
        virErrorPtr error = virSaveLastError();

        hang_up(theirs, -1);
        libvirt_module_restore_error(&events->module->libvirt, error);
        return false;
    }
    g_mutex_lock(&events->lock);
    is_wanted = !self->is_cancelled;
    if (is_wanted) {
        self->theirs = theirs;
        self->their_id = their_id;
    }
    g_mutex_unlock(&events->lock);
    if (!is_wanted)
        hang_up(theirs, their_id);
    return true;
}

/* Takes the connection away from the registration. */
static void
disconnect_registration(struct registration *self)
{
    virConnectPtr theirs = NULL;
    int their_id = -1;

    g_mutex_lock(&self->events->lock);
    theirs = g_steal_pointer(&self->theirs);
    their_id = self->their_id;
    self->is_lost = false;
    g_mutex_unlock(&self->events->lock);
    if (theirs)
        hang_up(theirs, their_id);
}

/* References to those that are lost; NULL if there are none, and then nobody renews any more. */
static GPtrArray *
take_lost(struct secret_events *events)
{
    g_autoptr(GPtrArray) lost = g_ptr_array_new_with_free_func(registration_unref);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&events->lock);
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, events->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct registration *self = value;

        if (self->is_lost)
            g_ptr_array_add(lost, registration_ref(self));
    }
    if (lost->len > 0)
        return g_steal_pointer(&lost);
    events->is_renewing = false;
    return NULL;
}

static void
mark_lost(struct registration *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->events->lock);

    self->is_lost = true;
}

static gpointer
renew_main(gpointer opaque)
{
    struct secret_events *events = opaque;

    secret_module_warn(events->module,
                       "the connection to virtcrypt-secretd on '%s' was lost: events of secrets "
                       "come again when it is back",
                       events->module->socket);
    while (true) {
        g_autoptr(GPtrArray) lost = take_lost(events);

        if (!lost)
            break;
        /* An outage may be long: libvirt would log each attempt. */
        for (guint i = 0; i < lost->len && secret_open_is_possible(events->module); i++) {
            struct registration *self = g_ptr_array_index(lost, i);

            disconnect_registration(self);
            if (!connect_registration(self))
                mark_lost(self);
        }
        g_usleep(RENEW_INTERVAL_US);
    }
    secret_module_warn(events->module, "events of secrets come again from virtcrypt-secretd");
    return NULL;
}

static void
renew_lost(struct secret_events *events)
{
    GThread *thread = g_thread_try_new("secret-events", renew_main, events, NULL);

    if (thread) {
        g_thread_unref(thread);
        return;
    }
    secret_module_warn(events->module, "no thread to renew event registrations with: events of "
                                       "secrets don't come any more");
    g_mutex_lock(&events->lock);
    events->is_renewing = false;
    g_mutex_unlock(&events->lock);
}

struct secret_events *
secret_events_new(struct secret_module *module)
{
    struct secret_events *events = g_new0(struct secret_events, 1);

    events->module = module;
    g_mutex_init(&events->lock);
    events->by_id = g_hash_table_new_full(NULL, NULL, NULL, registration_unref);
    return events;
}

static struct registration *
registration_new(struct secret_events *events, const struct secret_event_params *params)
{
    struct registration *self = g_new0(struct registration, 1);

    g_atomic_ref_count_init(&self->refs);
    self->events = events;
    virConnectRef(params->conn);
    self->conn = params->conn;
    self->event = params->event;
    if (params->secret && virSecretGetUUID(params->secret, self->uuid) == 0) {
        self->has_filter = true;
        self->usage_type = virSecretGetUsageType(params->secret);
        self->usage_id = g_strdup(virSecretGetUsageID(params->secret));
    }
    self->callback = params->callback;
    self->opaque = params->opaque;
    return self;
}

int
secret_events_register(struct secret_events *events, const struct secret_event_params *params)
{
    struct registration *self = registration_new(events, params);
    bool needs_renewal;
    int id;

    if (!secret_backends_find_asker(events->module->backends, params->conn, &self->identity) ||
        !connect_registration(self)) {
        virErrorPtr error = virSaveLastError();

        registration_unref(self);
        libvirt_module_restore_error(&events->module->libvirt, error);
        return -1;
    }
    /* Only now is `opaque` ours to free. */
    self->free_opaque = params->free_opaque;
    g_mutex_lock(&events->lock);
    id = self->id = ++events->last_id;
    g_hash_table_insert(events->by_id, GINT_TO_POINTER(id), self);
    /* Lost already, before renew_main could find it in the table. */
    needs_renewal = self->is_lost && !events->is_renewing;
    events->is_renewing = events->is_renewing || needs_renewal;
    g_mutex_unlock(&events->lock);
    if (needs_renewal)
        renew_lost(events);
    return id;
}

int
secret_events_deregister(struct secret_events *events, virConnectPtr conn, int id)
{
    struct registration *self = NULL;

    g_mutex_lock(&events->lock);
    self = g_hash_table_lookup(events->by_id, GINT_TO_POINTER(id));
    if (self && self->conn == conn) {
        g_hash_table_steal(events->by_id, GINT_TO_POINTER(id));
        self->is_cancelled = true;
    } else {
        self = NULL;
    }
    g_mutex_unlock(&events->lock);
    if (!self) {
        secret_module_error(events->module, VIR_ERR_INVALID_ARG,
                            "could not find event callback %d for deletion", id);
        return -1;
    }
    disconnect_registration(self);
    registration_unref(self);
    return 0;
}
