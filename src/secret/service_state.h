/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files of the service share. Not for other modules.
 */
#pragma once

#include "master/unlock.h"
#include "secret/audit_event.h"
#include "secret/clear_value.h"
#include "secret/generations.h"
#include "secret/owners.h"
#include "secret/registry.h"
#include "secret/service.h"
#include "secret/service_import.h"
#include "secret/service_read.h"
#include "secret/store.h"
#include "secret/value_index.h"

struct background;
struct master_work;

/* The file of slots, and what is known of it. (service_unlock.c, service_master.c) */
struct service_slots {
    char *path;
    char *key_file;               /* where a first start makes one */
    struct unlock_context unlock; /* its `cancel` is the one below */
    gint cancel;                  /* atomic: the service ends */
    struct slots *slots;          /* of the file, when it was last read or written, or NULL */
    GArray *attempts;             /* of struct unlock_attempt: the last one of each slot */
    bool has_opener;
    struct uuid opener; /* the slot that unlocked the present run */
    char *problem;      /* why the file is not what who has the master key wrote, or NULL */

    struct loop *loop;
    struct master_work *work; /* under way, or NULL */
    struct master_work *next; /* for which that one is broken off, or NULL */
    bool has_broken_off;      /* trying all slots was broken off, and is to begin anew */
    struct background *background;
};

struct secret_service {
    struct service_slots slots;
    char *generations_path;
    char *libvirt_conf;    /* libvirt's secret.conf, which names the key of UUID.aes256cbc */
    char *credentials_dir; /* or NULL */
    bool defers_import;    /* a reload leaves libvirt's files to the import that it is part of */
    enum secret_readback readback;
    void (*on_event)(void *opaque, enum secret_event_id event, int detail,
                     const struct secret_def *def);
    void *opaque;

    struct registry *registry;
    struct store *store;             /* NULL: nothing is kept on disk */
    struct master_key *master_key;   /* NULL while locked, and without a store */
    struct master_key *previous_key; /* only while it is being replaced */
    struct generations *generations; /* exactly when there is a master key: what values are under */
    char *locked_reason;             /* exactly when there is a store and no master key */
    struct master_key *memory_key;   /* of values that are never on disk; gone with the process */
    struct rotation *rotation;       /* exactly when there is a store */
    struct index_keeper *index;      /* NULL: there is none (service_index.h) */

    GHashTable *strays;   /* guests' copies without a definition: by uuid, owners.h's array */
    GHashTable *queues;   /* of changes, by uuid; only where there are some */
    GHashTable *reserved; /* set of struct secret_def: usages that changes under way will take */
    unsigned int submitted;
};

/* ---- service_value.c: which key a value is under, and what stands in the way of it ---- */

/* Whether its definition and value are kept on disk. */
bool service_keeps(const struct secret_service *service, const struct secret_def *def);
/* The key that values of `def` are to be sealed under; NULL with an error while locked. */
const struct master_key *service_key_for(const struct secret_service *service,
                                         const struct secret_def *def, GError **error);
/* The key that a value of `def` was sealed under (or one that says why not); likewise. */
const struct master_key *service_key_of(const struct secret_service *service,
                                        const struct secret_def *def, GBytes *sealed,
                                        GError **error);
bool service_has_value(const struct secret *secret);
/* The value, whoever asks, of a secret that has one. */
struct secret_buf *service_open_value(const struct secret_service *service,
                                      const struct secret *secret, GError **error);
/* The generation that the next value of the secret `known` (NULL: a new one of that uuid) is to be
 * greater than. */
uint64_t service_last_generation(const struct secret_service *service, const struct uuid *uuid,
                                 const struct secret *known);
/* What clients may set. */
bool service_check_value(const struct secret_buf *value, GError **error);
/* ERROR_NO_SECRET. */
void service_set_not_found(const struct uuid *uuid, GError **error);

/* ---- service_change.c: changes, one at a time for each uuid ---- */

enum change_kind {
    CHANGE_DEFINE,
    CHANGE_SET_VALUE,
    CHANGE_UNDEFINE,
    CHANGE_BIND,
    CHANGE_UNBIND,
    CHANGE_PUT,
    CHANGE_REWRAP,
    CHANGE_ACCEPT,
};

struct change {
    struct secret_service *service;
    enum change_kind kind;
    struct uuid uuid;
    struct secret_def *def;    /* define, put: as wanted; undefine: as it was */
    struct secret_buf *wanted; /* set-value, put */
    bool is_erase;             /* undefine: by secret_service_erase */
    bool has_guest;
    struct uuid guest; /* bind, unbind; undefine: on whose account */
    char *reason;      /* unbind, erase: for the audit */
    GArray *owners;    /* put: as wanted; with changes_owners: as they will be */
    secret_done_func done;
    void *opaque;

    /* What prepare decided, and apply does once it is durable. */
    bool changes_disk;
    struct store_change disk;
    bool changes_value;
    struct secret_value value;
    bool changes_owners;
    bool has_reservation;
    struct clear_value *clear; /* define: UUID.base64 that was sealed by it, or NULL */
};

/* Checks the rules against the state of now and decides what will change; nothing is visible
 * before the function of the same kind below is called. */
bool service_prepare_define(struct change *change, GError **error);
bool service_prepare_set_value(struct change *change, GError **error);
bool service_prepare_undefine(struct change *change, GError **error);
bool service_prepare_bind(struct change *change, GError **error);
bool service_prepare_unbind(struct change *change, GError **error);
bool service_prepare_put(struct change *change, GError **error);
bool service_prepare_rewrap(struct change *change, GError **error);
bool service_prepare_accept(struct change *change, GError **error);
/* Cannot fail. Leaves in `change->def` what the event and the caller are told. */
void service_apply_define(struct change *change);
void service_apply_set_value(struct change *change);
void service_apply_undefine(struct change *change);
/* bind and unbind */
void service_apply_owners(struct change *change);
void service_apply_put(struct change *change);
void service_apply_rewrap(struct change *change);
void service_apply_accept(struct change *change);

/* UUID.xml of a definition. */
GBytes *service_format_xml(const struct secret_def *def);
/* Adds UUID.key to what `change` writes. */
void service_write_key(struct change *change, GBytes *sealed);
/* Wipes libvirt's files, which the change made void. */
void service_wipe_clear(const struct change *change);

/* ---- service_owner.c: guests and their copies ---- */

/* Seals `plain` for `def` and everybody in `owners` (for none: as UUID.key), and adds it to what
 * `change` writes and to its value. */
bool service_write_value(struct change *change, const struct secret_def *def, const GArray *owners,
                         uint64_t generation, const struct secret_buf *plain, GError **error);
/* The owners that the change was prepared with become those of `secret`. */
void service_take_owners(struct change *change, struct secret *secret);
/* Adds to what `change` writes that the copies of all of `owners` go. */
void service_remove_copies(struct change *change, const GArray *owners);
/* The same for copies that an older secret of that uuid left, but those of `owners`. */
void service_remove_strays(struct change *change, const GArray *owners);

/* ---- service_change.c ---- */

struct change *service_new_change(struct secret_service *service, enum change_kind kind,
                                  const struct uuid *uuid, secret_done_func done, void *opaque);

/* Adds a line of the audit to what `change` writes; secret and generation are those of `known`. */
bool service_add_audit(struct change *change, const struct secret *known, struct audit_event *event,
                       GError **error);

/* Queues it (taken). */
void service_submit(struct change *change);
/* Frees what is in the table of queues. */
void service_free_queue(void *opaque);

/* ---- service_rules.c: libvirt's rules for definitions ---- */

/* Whether `def` may become a secret, `known` (or NULL) being the one of its uuid. */
bool service_check_definition(const struct secret_service *service, const struct secret *known,
                              const struct secret_def *def, GError **error);

/* ---- service_load.c: from disk to the registry ---- */

/* Reads everything; fails if the folder can't be listed. */
bool service_load(struct secret_service *service, GError **error);

/* ---- service_repair.c ---- */

GArray *service_repairs_new(void);
/* Adds what has to be put right, if there is something; takes it out of `reading`. */
void service_repairs_add(GArray *repairs, const struct uuid *uuid, struct service_reading *reading);
/* No change is under way. */
void service_repair(struct secret_service *service, GArray *repairs);

/* ---- service_unlock.c: master key and generations ---- */

/* What is stored: arrays of store_list and store_list_owned. */
struct service_stock {
    GArray *entries;
    GArray *owned;
};

/* What the trying of the slots came to. */
struct service_try {
    bool has_slots;      /* there is a file */
    struct slots *slots; /* NULL: none, or unreadable */
    GArray *attempts;    /* of struct unlock_attempt */
    struct master_key *key;
    char *problem; /* it opened, but the file is not authentic */
    GError *error; /* there is a file, and no key: why */
};
void service_try_clear(struct service_try *tried);
typedef struct service_try service_try_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(service_try_t, service_try_clear)
/* Reads the file and tries one slot (`only`), or all that need no person, or with a `secret` those
 * that do. Blocks; any thread. */
void service_try_slots(const char *path, const struct unlock_context *unlock,
                       const struct uuid *only, const struct secret_buf *secret,
                       struct service_try *ret_try);
/* The slot that opened, or NULL. */
const struct slot *service_try_opener(const struct service_try *tried);

/* Opens both with what was tried, or locks the service. The one place where keys come in. */
void service_unlock(struct secret_service *service, const struct service_stock *stock,
                    struct service_try *tried);
/* The one place where keys go. No change is under way. */
void service_lock(struct secret_service *service, const char *reason);
/* Locked, as above, as long as it takes to try the slots. */
void service_lock_while_trying(struct secret_service *service);
/* Remembers what was tried for the status, and logs what failed. Takes slots, attempts, problem. */
void service_note_try(struct secret_service *service, struct service_try *tried);
/* The same of attempts (of struct unlock_attempt), without a log. */
void service_note_attempts(struct secret_service *service, const GArray *attempts);

/* ---- service_keys_in_use.c ---- */

/* Those in use are not read again, and kept whatever became of their files; what is missing or
 * damaged of these is written again. */
void service_check_keys_in_use(struct secret_service *service);

/* ---- service_first_start.c: where there is no file of slots ---- */

/* Whose keys the stored values need, where there is no file of generations. */
struct service_census {
    size_t legacy; /* the master key itself */
    size_t others;
    struct uuid first_other;
};
struct service_census service_count_keys(const struct secret_service *service,
                                         const struct service_stock *stock,
                                         const struct master_key *master);
/* Looks at what the next one will use; any thread. What does not answer in time fails there at
 * once (util/probe.h), which is in the loop. */
void service_look_before_first_start(const char *key_file, const struct unlock_context *unlock);
/* Makes a master key and its first slot, or the slots of a store of before; *ret_slots are in the
 * file then. */
struct master_key *service_make_slots(const struct secret_service *service,
                                      const struct service_stock *stock, struct slots **ret_slots,
                                      GError **error);

/* ---- service_load.c, again ---- */

/* As secret_service_reload, for a service that is locked, with what was tried; NULL: nothing was,
 * and it stays locked. */
void service_load_unlocked(struct secret_service *service, struct service_try *tried);

/* ---- service.c ---- */

/* Waits until every change has ended. What was paused is to be resumed. */
void service_drain_changes(struct secret_service *service);

/* ---- service_rotate.c: the next generation, in the background ---- */

struct rotation *service_rotate_new(struct secret_service *service,
                                    const struct secret_service_params *params);
void service_rotate_free(struct rotation *rotation);
/* Goes on where the last daemon, or a drain, left off. */
void service_rotate_resume(struct secret_service *service);
/* Begins no more rewraps. */
void service_rotate_pause(struct secret_service *service);

/* Guests that had a copy of the secret when the pass under way began (owners.h). */
const GArray *service_rotate_find_guests(const struct secret_service *service,
                                         const struct uuid *uuid);
/* A store_kept_func, with the service: what a kept file is to become. (service_rewrap.c) */
bool service_rewrap_kept(void *opaque, GBytes *content, GBytes **ret_content, GError **error);
/* Files were read that somebody may have put back: what was looked at has to be again. */
void service_rotate_look_again(struct secret_service *service);
/* The keys go; what is under way is dropped, and begins anew with the next ones. */
void service_rotate_stop(struct secret_service *service);
/* A value that is to get a new data key does not open, and keeps its own. */
void service_rotate_note_kept_key(struct secret_service *service);
/* A rewrap has changed something. */
void service_rotate_note_moved(struct secret_service *service);

/* A change that is being prepared takes a stored value away: leaves a mark on disk, which outlives
 * the process, and starts the delay after which a new generation begins. Harmless if the change
 * fails afterwards. */
void service_note_erasure(struct secret_service *service);

/* ---- service_import.c ---- */

/* Seals and wipes the values in libvirt's files of these secrets (array of struct uuid, all known).
 * Unlocked, and no change is under way. */
void service_import(struct secret_service *service, const GArray *uuids);
/* The same as `asked` says (is_dry and trusts_key of it); adds to `reports` (of
 * service_import_reports_new; or NULL) what became of each file, or would. */
void service_import_reported(struct secret_service *service, const GArray *uuids,
                             const struct secret_import *asked, GArray *reports);
GArray *service_import_reports_new(void);
/* Adds one; `problem` may be NULL. */
void service_import_add_report(GArray *reports, const struct uuid *uuid, enum store_kind kind,
                               enum secret_import_action action, const char *problem);
/* What the value is after a file of libvirt's was dealt with; logs what stands in the way. Whether
 * the file is to be wiped. */
bool service_take_clear(struct clear_value *clear, struct secret_value *value);
