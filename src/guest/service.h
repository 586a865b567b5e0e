/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the use cases of guests and their keys. Functions may be called from any thread but the
 * event loop's; two operations on one guest exclude one another. One thread of its own watches:
 * events and deadlines, and everything again after each connecting.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/daemon_conf.h"
#include "guest/custodian.h"
#include "guest/libvirt.h"
#include "guest/records.h"
#include "storage/service.h"

struct guest_service;

struct guest_service_params {
    const struct daemon_conf *conf;  /* libvirt_uri and the settings of erasing */
    const char *records_dir;         /* SYSCONFDIR/libvirt/virtcrypt/guests */
    const char *domain_dir;          /* SYSCONFDIR/libvirt/qemu: libvirt's own definitions */
    const char *autostart_path;      /* file below /run of guests that wait for the unlock (with
                                      * custodian.is_locked); NULL: none does */
    struct storage_service *storage; /* borrowed */
    struct guest_custodian custodian;
};

struct guest_service *guest_service_new(const struct guest_service_params *params, GError **error);
/* Starts watching: connects when libvirt is there. */
void guest_service_start(struct guest_service *service);
/* Nothing waits for libvirt any more: what does fails, and the next start finishes or undoes it. */
void guest_service_stop(struct guest_service *service);
void guest_service_free(struct guest_service *service);

/* Looks at all guests and volumes now, and waits until that is done; the error of the last look. */
bool guest_service_reconcile(struct guest_service *service, GError **error);
/* A volume's secret changed, or a volume went: its guests are looked at soon. Any thread; does not
 * wait. */
void guest_service_note_volume(struct guest_service *service);
/* As guest_records_need_elsewhere. Any thread. */
bool guest_service_needs_elsewhere(struct guest_service *service, const struct uuid *secret,
                                   const char *path);

/* ---- service_define.c ---- */

enum guest_mechanism { GUEST_MECHANISM_PASSPHRASE, GUEST_MECHANISM_GENERATE };
struct guest_given_key {
    const char *volume; /* disk target, path, or POOL/VOLUME */
    enum guest_mechanism mechanism;
    const struct secret_buf *key; /* PASSPHRASE */
};
struct guest_stored_key {
    char *volume;
    struct uuid secret;
    bool is_generated;
};
struct guest_define_request {
    const char *xml;
    const struct guest_given_key *keys;
    size_t key_count;
    unsigned int flags;
    bool is_create; /* virDomainCreateXML: started, transient */
};
struct guest_defined {
    char *name;
    struct uuid uuid;
    GPtrArray *keys; /* of struct guest_stored_key */
};
void guest_defined_free(struct guest_defined *defined);
struct guest_defined *guest_service_define(struct guest_service *service,
                                           const struct guest_define_request *request,
                                           GError **error);

/* ---- service_keys.c ---- */

bool guest_service_bind(struct guest_service *service, const struct uuid *secret,
                        const struct uuid *guest, GError **error);
bool guest_service_unbind(struct guest_service *service, const struct uuid *secret,
                          const struct uuid *guest, GError **error);
bool guest_service_erase(struct guest_service *service, const struct uuid *secret, GError **error);

/* ---- service_look.c: lists ---- */

struct guest_entry {
    char *name;
    struct uuid uuid;
    const char *state; /* as virtcrypt_guest.x says */
    bool is_persistent;
    unsigned int keys;
    unsigned int missing;
    unsigned int orphaned;
    int64_t erase_at;
};
struct guest_key_entry {
    struct uuid secret;
    struct uuid guest;
    char *guest_name;
    char *volume;
    const char *origin;
    const char *state;
    int64_t erase_at;
    char *reason;
};
/* All of them, ordered; the dispatcher pages. */
GPtrArray *guest_service_list(struct guest_service *service, GError **error);
GPtrArray *guest_service_list_keys(struct guest_service *service, const struct uuid *guest,
                                   const char *volume, bool is_orphaned, GError **error);

struct guest_status {
    char *uri;
    char *problem;
    unsigned int guests;
    unsigned int keys;
    unsigned int orphaned;
    unsigned int waiting;
};
/* Asks nobody. */
void guest_service_status(struct guest_service *service, struct guest_status *ret_status);
void guest_status_clear(struct guest_status *status);

/* Guests that were not started at boot for want of the master key (autostart.h). */
struct guest_autostart_status {
    unsigned int waiting;
    bool is_enabled;  /* autostart_after_unlock */
    bool is_unlocked; /* those that still wait have to be started by somebody */
};
void guest_service_autostart(struct guest_service *service,
                             struct guest_autostart_status *ret_status);

/* ---- service_check.c ---- */

struct guest_check_item {
    char *place;
    char *volume;
    bool has_secret;
    struct uuid secret;
    const char *state;
    char *message;
};
struct guest_check {
    char *name;
    bool would_start;
    GPtrArray *items;
};
void guest_check_free(struct guest_check *check);
/* Opens headers with the keys, changes nothing. */
struct guest_check *guest_service_check(struct guest_service *service, const struct uuid *guest,
                                        GError **error);

/* ---- service_migrate.c ---- */

struct guest_packet {
    char *xml; /* of the secret */
    char *volume;
    enum guest_key_origin origin;
    char *record; /* of the volume, or NULL */
    struct secret_buf *key;
};
struct guest_migration {
    struct uuid uuid;
    char *name;
    struct uuid migration;
    GPtrArray *packets; /* of struct guest_packet */
};
void guest_migration_free(struct guest_migration *migration);
struct guest_migration *guest_service_migrate_begin(struct guest_service *service,
                                                    const struct uuid *guest, const char *peer,
                                                    GError **error);
/* Stores the packets' keys, owned by the guest. */
bool guest_service_migrate_receive(struct guest_service *service,
                                   const struct guest_migration *migration, const char *peer,
                                   GError **error);
struct guest_migrate_end {
    const char *state;
    unsigned int erased;
    unsigned int orphaned;
};
bool guest_service_migrate_end(struct guest_service *service, const struct uuid *guest,
                               const struct uuid *migration, bool has_moved,
                               struct guest_migrate_end *ret_end, GError **error);

typedef struct guest_service guest_service_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(guest_service_t, guest_service_free)
