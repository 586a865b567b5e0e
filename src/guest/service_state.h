/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files service*.c and reconcile.c share. Inside src/guest only.
 */
#pragma once

#include "guest/plan.h"
#include "guest/service.h"

struct guest_autostart;
struct guest_watch;

struct guest_service {
    char *domain_dir;
    const struct daemon_conf *conf; /* borrowed */
    struct storage_service *storage;
    struct guest_custodian custodian;
    struct guest_records *records;
    struct guest_libvirt *libvirt;     /* NULL: libvirt_uri is "" */
    struct guest_watch *watch;         /* the thread */
    char *autostart_path;              /* or NULL */
    struct guest_autostart *autostart; /* NULL: no guest waits for the unlock */
    GMutex lock;
    GCond unlocked;
    GHashTable *busy;      /* set of struct uuid: guests that an operation is under way for */
    GHashTable *migrated;  /* struct uuid -> when (gint64): libvirt said lately that it moved */
    GHashTable *changed;   /* set of struct uuid: libvirt said something of them since a list */
    bool has_many_changed; /* more than are kept */
    GHashTable *troubles;  /* struct uuid -> what was logged last of that guest */
    char *trouble_of_all;  /* the same, not of one guest */
    GMutex owners_mutex;   /* held from counting a secret's owners to its removal, and while it gets
                            * another one; after the guests' locks */
};

/* ---- service.c ---- */

/* Waits (at most 30 s, then ERROR_RESOURCE_BUSY) until no other operation is on that guest. */
bool guest_service_lock(struct guest_service *service, const struct uuid *guest, GError **error);
bool guest_service_try_lock(struct guest_service *service, const struct uuid *guest);
void guest_service_unlock(struct guest_service *service, const struct uuid *guest);
/* Why libvirt can't be asked, as an error: there is none, or no connection. */
bool guest_service_check_libvirt(struct guest_service *service, GError **error);
/* libvirt reported something of that guest. */
void guest_service_note_changed(struct guest_service *service, const struct uuid *guest);
/* All of which it did since the last call (array of struct uuid); NULL: of more than are kept. */
GArray *guest_service_take_changed(struct guest_service *service);
/* Whether libvirt reported lately that it stopped here because it runs elsewhere. */
bool guest_service_was_migrated(struct guest_service *service, const struct uuid *guest);
/* Logs what went wrong, once for each text; NULL: nothing does any more. */
void guest_service_note_trouble(struct guest_service *service, const struct uuid *guest,
                                const char *name, const GError *error);
void guest_service_note_trouble_of_all(struct guest_service *service, const char *text);

/* ---- references.c ---- */

/* What all XMLs of a domain refer to, with usages resolved, secrets of our volumes found by their
 * records and backing chains followed on disk: array of struct guest_reference, one a secret.
 * *ret_partial: something could not be read, so there may be more. */
GPtrArray *guest_references_of(struct guest_service *service, const struct guest_seen *seen,
                               const GArray *with_value, bool *ret_partial, GError **error);
void guest_reference_free(struct guest_reference *reference);

/* ---- recover: service_define.c, service_migrate.c; guest locked; called by reconcile ---- */

/* Finishes or undoes a record in state DEFINING; `seen` as above. */
bool guest_define_recover(struct guest_service *service, struct guest_record *record,
                          const struct guest_seen *seen, GError **error);
/* The same for ARRIVING and LEAVING; *ret_look_again when it is too early. */
bool guest_migrate_recover(struct guest_service *service, struct guest_record *record,
                           const struct guest_seen *seen, int64_t *ret_look_again, GError **error);
