/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a store that no daemon has open, from its files alone: what is there, what each value is by
 * all copies of it, and what is lost. Damage costs what is damaged and nothing else: it is named.
 * While it is open neither virtcrypt-secretd nor libvirtd can have it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/secret_def.h"
#include "recover/offline_unlock.h"
#include "secret/audit_event.h"
#include "secret/service_read.h"

struct offline_store;

/* Borrowed for the call. */
struct offline_params {
    const char *root; /* a folder with the files of a host, or NULL: this host */
    bool is_session;  /* this user's store; not with a root */
    bool takes_old;   /* values that the index of generations refuses, too */
};

/* What is known of one secret. */
struct offline_secret {
    struct store_entry entry;
    GArray *owners;                 /* guests that have a copy (owners.h) */
    struct secret_def *def;         /* NULL: not readable, see `problem` */
    char *problem;                  /* of the definition, or NULL */
    struct service_reading reading; /* of the value, after offline_store_unlock */
};

/* Takes the locks, carries out what the journal holds, reads slots and definitions.
 * ERROR_RESOURCE_BUSY while a daemon has the store; ERROR_NO_SECRET if there is none. */
struct offline_store *offline_store_open(const struct offline_params *params, GError **error);
void offline_store_free(struct offline_store *store);

/* Whether one of the ways that `key` leaves needs what a person types. */
bool offline_store_needs_person(const struct offline_store *store, const struct offline_key *key);
/* Opens the master key, and then each value. Once; may be tried again after an error. */
bool offline_store_unlock(struct offline_store *store, const struct unlock_context *context,
                          const struct offline_key *key, GError **error);

const struct offline_paths *offline_store_paths(const struct offline_store *store);
/* What is wrong with the store itself: texts. */
const GPtrArray *offline_store_problems(const struct offline_store *store);

/* In the order of uuids. Guests' copies of a secret without a definition are one, too. */
guint offline_store_count(const struct offline_store *store);
const struct offline_secret *offline_store_at(const struct offline_store *store, guint index);
/* By uuid or by usage id; ERROR_NO_SECRET, or ERROR_INVALID_ARG if several have that usage id. */
const struct offline_secret *offline_store_find(const struct offline_store *store, const char *name,
                                                GError **error);

/* Whether it has a value that can't be had, and why; NULL: it can, or there is none. */
const char *offline_store_find_loss(const struct offline_secret *secret);
/* The value. ERROR_NO_SECRET if it has none, ERROR_INVALID_SECRET if it is lost. Unlocked. */
struct secret_buf *offline_store_open_value(const struct offline_store *store,
                                            const struct offline_secret *secret, GError **error);

/* Adds a line to the audit, durably and once. */
bool offline_store_audit(struct offline_store *store, const struct audit_event *event,
                         GError **error);

typedef struct offline_store offline_store_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(offline_store_t, offline_store_free)
