/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the use cases of the custodian: define, set, get, undefine, bind to guests, look up, list.
 * It is handed typed requests and an answer to "may this caller see values", knows libvirt's rules
 * for secrets, and is the only writer of registry and store. It runs in the loop's thread. No wire
 * types here.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/secret_def.h"
#include "master/unlock.h"
#include "util/loop.h"
#include "util/secret_buf.h"

struct secret_service;

enum secret_readback { SECRET_READBACK_NEVER, SECRET_READBACK_LOCAL_ROOT, SECRET_READBACK_ANY };

/* Who asks for a value. */
struct secret_reader {
    bool is_elevated;   /* showed the system token */
    bool is_local_root; /* peer uid 0 on the local socket, for itself: no identity forwarded */
};

/* Numbers of virSecretEventID and virSecretEventLifecycleType. */
enum secret_event_id { SECRET_EVENT_LIFECYCLE = 0, SECRET_EVENT_VALUE_CHANGED = 1 };
enum secret_event_lifecycle { SECRET_EVENT_DEFINED = 0, SECRET_EVENT_UNDEFINED = 1 };

struct secret_service_params {
    struct loop *loop;
    const char *libvirt_conf; /* libvirt's secret.conf, which may name the key of UUID.aes256cbc */
    const char *credentials_dir; /* $CREDENTIALS_DIRECTORY, which may hold it; or NULL */
    const char *dir; /* of definitions and sealed values; NULL: nothing is kept on disk, and what
                      * follows up to `readback` is not used */
    const char *journal_dir;
    const char *guests_dir; /* of guests' copies */
    const char *audit;      /* the file; both as in struct store_params */
    const char *generations_path;
    unsigned int rotation_delay; /* s from an erasure to the next key-encryption generation */
    const char *slots_path;      /* the file of slots */
    const char *key_file;        /* where a first start makes a key file */
    const struct unlock_context *unlock; /* borrowed; lives as long as the service */
    const char *index_path;              /* the index of generations; NULL: none is kept */
    unsigned int index_delay;            /* s from a change to the write of the index */
    enum secret_readback readback;
    void (*on_event)(void *opaque, enum secret_event_id event, int detail,
                     const struct secret_def *def);
    void *opaque;
};

/* Opens the store, unlocks the master key (or stays locked and says so in the log), loads every
 * definition, imports libvirt's clear values. Fails only if the folders can't be used at all.
 * `params` and its strings are copied. It starts threads: not before the process has forked. */
struct secret_service *secret_service_new(const struct secret_service_params *params,
                                          GError **error);
/* Changes under way are finished on disk; their `done` is not called: see secret_service_drain. */
void secret_service_free(struct secret_service *service);

/* Waits until every change has ended, and what is under way with the master key, and calls what
 * `done` functions are due. */
void secret_service_drain(struct secret_service *service);

/* SIGHUP: reads definitions that appeared or changed on disk; removes none, and emits no event, as
 * libvirt. Unlocks if locked: before it returns, or later if that takes long. Takes values that
 * were put back or replaced, if they are good. Drains first. */
void secret_service_reload(struct secret_service *service);

/* NULL while unlocked, else why values can't be used. */
const char *secret_service_locked_reason(const struct secret_service *service);
size_t secret_service_count(const struct secret_service *service);
size_t secret_service_count_ephemeral(const struct secret_service *service);
size_t secret_service_count_unavailable(const struct secret_service *service);

/* The key-encryption generation. `problem` is borrowed until the loop goes on. */
struct secret_generation_status {
    uint64_t number;     /* 0 while locked, and where nothing is kept on disk */
    bool is_rotating;    /* an older one is still there */
    uint64_t left;       /* so many sealed values may be under it */
    const char *problem; /* what keeps it from being destroyed, or NULL */
};
void secret_service_get_generation(const struct secret_service *service,
                                   struct secret_generation_status *ret_status);
/* Lines of the audit (docs/audit.md) as they are on disk: at most `max` (and not too long together)
 * from number `from`, counted from 0; array of char *. Where nothing is kept on disk there are
 * none. */
GPtrArray *secret_service_read_audit(const struct secret_service *service, uint64_t from,
                                     size_t max, bool *ret_more, GError **error);

/* What is wrong with the index of generations, or NULL. Borrowed until the loop goes on. */
const char *secret_service_rollback_problem(const struct secret_service *service);
/* What was put back from an older backup, and is refused, counts as the newest: of one secret
 * (ERROR_OPERATION_INVALID if nothing of it is refused), or of all (`uuid` NULL), and whatever is
 * wrong with the index then. `count` values were accepted, even if there is an error. */
typedef void (*secret_accepted_func)(void *opaque, unsigned int count, const GError *error);
void secret_service_accept(struct secret_service *service, const struct uuid *uuid,
                           secret_accepted_func done, void *opaque);

/* Whether a next generation is due or under way, and nothing keeps it from going on. */
bool secret_service_has_rotation(const struct secret_service *service);

/* Changes end later, in the order submitted for one secret: `done` gets the definition (borrowed
 * for the call, NULL on error) or the error (borrowed). It may be called before the function
 * returns. The event comes first, then `done`; both when the change is durable and visible. */
typedef void (*secret_done_func)(void *opaque, const struct secret_def *def, const GError *error);

void secret_service_define(struct secret_service *service, struct secret_def *take_def,
                           secret_done_func done, void *opaque);
void secret_service_set_value(struct secret_service *service, const struct uuid *uuid,
                              struct secret_buf *take_value, secret_done_func done, void *opaque);
void secret_service_undefine(struct secret_service *service, const struct uuid *uuid,
                             secret_done_func done, void *opaque);

/* ---- guests that own secrets (docs/secrets.md) ---- */

/* The guest gets a copy of the value. ERROR_NO_SECRET also without a value. One that has a copy
 * already is no error, and nothing is written. */
void secret_service_bind(struct secret_service *service, const struct uuid *uuid,
                         const struct uuid *guest, secret_done_func done, void *opaque);
/* Takes it away; with the last one the value belongs to no guest. Not bound: as above. `reason`
 * (AUDIT_REASON_MAX bytes of it) goes to the audit. */
void secret_service_unbind(struct secret_service *service, const struct uuid *uuid,
                           const struct uuid *guest, const char *reason, secret_done_func done,
                           void *opaque);
/* As undefine, with the reason in the audit, and `guest` (or NULL) on whose account it is. */
void secret_service_erase(struct secret_service *service, const struct uuid *uuid,
                          const struct uuid *guest, const char *reason, secret_done_func done,
                          void *opaque);

/* A secret that comes with its value and owners, all or nothing. */
struct secret_put {
    struct secret_def *def;    /* taken */
    struct secret_buf *value;  /* taken */
    const struct uuid *owners; /* in any order */
    size_t owner_count;
};
/* ERROR_OPERATION_FAILED: there is a secret of that uuid. */
void secret_service_put(struct secret_service *service, const struct secret_put *put,
                        secret_done_func done, void *opaque);

struct secret_binding {
    struct uuid secret;
    struct uuid guest;
};
/* At most `max` (an array of struct secret_binding) after `after` (NULL: from the start), in the
 * order of secret and guest. */
GArray *secret_service_list_bindings(const struct secret_service *service,
                                     const struct secret_binding *after, size_t max);

/* Borrowed until the next change, or NULL with ERROR_NO_SECRET. */
const struct secret_def *secret_service_find(const struct secret_service *service,
                                             const struct uuid *uuid, GError **error);
const struct secret_def *secret_service_find_usage(const struct secret_service *service, int type,
                                                   const char *usage_id, GError **error);

/* Errors, in this order: ERROR_NO_SECRET; ERROR_INVALID_SECRET for a private one unless the reader
 * is elevated; ERROR_OPERATION_DENIED by the readback setting; ERROR_NO_SECRET without a value;
 * ERROR_INVALID_SECRET with why it is unavailable; ERROR_OPERATION_INVALID while locked. */
struct secret_buf *secret_service_get_value(struct secret_service *service, const struct uuid *uuid,
                                            const struct secret_reader *reader, GError **error);

/* Whether it has one, even if it can't be used now. False for an unknown secret. */
bool secret_service_has_value(const struct secret_service *service, const struct uuid *uuid);

/* Numbers of virConnectListAllSecretsFlags; 0 or both of a pair: any. */
enum secret_list_flags {
    SECRET_LIST_EPHEMERAL = 1,
    SECRET_LIST_NO_EPHEMERAL = 2,
    SECRET_LIST_PRIVATE = 4,
    SECRET_LIST_NO_PRIVATE = 8,
};
/* Definitions (borrowed until the next change) that pass `flags`; unknown flags are the caller's
 * to refuse. */
GPtrArray *secret_service_list(const struct secret_service *service, unsigned int flags);
/* At most `max` of them in uuid order after `after` (NULL: from the start), before filtering. */
GPtrArray *secret_service_list_page(const struct secret_service *service, const struct uuid *after,
                                    size_t max);

typedef struct secret_service secret_service_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(secret_service_t, secret_service_free)
