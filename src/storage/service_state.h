/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files service*.c share. Inside src/storage only.
 */
#pragma once

#include "storage/guests.h"
#include "storage/identities.h"
#include "storage/mapping.h"
#include "storage/records.h"
#include "storage/service.h"
#include "storage/service_lock.h"

struct service_worker;

struct storage_service {
    char *device_dir;
    char *guest_state_dir;
    unsigned int retry_s;
    struct storage_keys keys;
    void *opaque; /* of: */
    bool (*is_needed_elsewhere)(void *opaque, const struct uuid *secret, const char *path);
    struct storage_records *records;
    struct storage_identities *identities;
    struct storage_pools *pools;
    struct storage_uses *uses;
    struct service_locks *locks;
    struct service_worker *worker;
    GMutex secrets_mutex; /* held while a record begins to name a secret, and while one that no
                           * record names any more is removed */
    GMutex sources_mutex; /* held while a clone opens or closes its source, which it shares */
};

enum {
    SERVICE_GUEST_WAIT_MS = 30 * 1000, /* how long a guest's start waits for another operation */
    SERVICE_START_GRACE_S = 120,       /* from a prepared guest to libvirt's file of it */
};

/* ---- service.c ---- */

/* Locks the volume and gives its record, READY: what a crash or an absent custodian left of an
 * earlier operation is finished first. */
struct volume_record *service_take_volume(struct storage_service *service, const char *pool,
                                          const char *name, const struct service_lock_wish *wish,
                                          struct service_lock **ret_lock, GError **error);
/* ERROR_RESOURCE_BUSY naming users and running guests; `what`: "deleted". */
bool service_check_unused(struct storage_service *service, const struct volume_record *record,
                          const char *what, GError **error);
/* ERROR_RESOURCE_BUSY naming an image of ours that has it as its backing file. */
bool service_check_no_layer(struct storage_service *service, const struct volume_record *record,
                            const char *what, GError **error);
struct storage_volume *service_volume_new(struct storage_service *service,
                                          const struct volume_record *record);

/* ---- service_secret.c: the keys of volumes ---- */

/* The present key of a volume. Errors name the volume and the remedy. */
struct secret_buf *service_secret_get(struct storage_service *service,
                                      const struct volume_record *record, GError **error);
/* Defines `uuid` as a private secret of the volume: its path is the usage, or begins it when
 * another secret has that one. `how`: "generated" or "stored". */
bool service_secret_put(struct storage_service *service, const struct volume_record *record,
                        const struct uuid *uuid, const char *how, const struct secret_buf *key,
                        GError **error);
/* Erases it unless another volume, or a guest for another volume, uses it too. What was `done` to
 * the volume ("deleted") is the reason in the custodian's audit. */
bool service_secret_drop(struct storage_service *service, const struct volume_record *record,
                         const struct uuid *uuid, const char *done, GError **error);

/* ---- service_recover.c: what an operation left undone; the volume is locked by the caller ---- */

/* Undoes or finishes; afterwards the record is READY or gone. READY: nothing. */
bool service_recover(struct storage_service *service, const struct volume_record *record,
                     GError **error);
/* Second half of a re-keying: takes away the keyslot and secret of record->other_secret, then puts
 * the record as READY. */
bool service_finish_rekey(struct storage_service *service, struct volume_record *record,
                          GError **error);
/* While re-keying: `other_secret`, a generated one, becomes the volume's, and its own the other. */
void service_swap_secrets(struct volume_record *record);
/* Brings uses and mappings in line with the guests that run, and recovers all volumes. */
void service_recover_all(struct storage_service *service);

/* ---- service_worker.c: a thread that tries again ---- */

struct service_worker *service_worker_new(struct storage_service *service);
void service_worker_free(struct service_worker *worker);
/* The mapping was busy when its last user went: it is tried until it closes, within a bound. */
void service_worker_close_later(struct service_worker *worker, const char *pool, const char *name);
/* There is something to recover. */
void service_worker_wake(struct service_worker *worker);

/* ---- service_open.c: mappings; the volume is locked by the caller ---- */

/* Adds the use and opens the mapping if it is not open. */
bool service_open_for(struct storage_service *service, const struct volume_record *record,
                      const struct storage_user *user, GError **error);
/* Removes the use; the last one closes the mapping. Busy: ERROR_RESOURCE_BUSY, the use is gone. */
bool service_close_for(struct storage_service *service, const struct volume_record *record,
                       const struct storage_user *user, GError **error);
/* Nobody uses it: closes the mapping if it is open. */
bool service_close_unused(struct storage_service *service, const struct volume_record *record,
                          GError **error);
