/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the secrets that exist, in memory, found by uuid and by usage in constant time and kept in
 * the order of uuids. Values are sealed here, too: no disk, no keys. Only the loop's thread touches
 * it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/secret_def.h"
#include "secret/owners.h"

struct registry;

/* What is known of a secret's value. */
struct secret_value {
    GBytes *sealed;      /* or NULL */
    struct uuid *owner;  /* the guest that it is sealed for; NULL: for none */
    char *unavailable;   /* why it can't be used although there is one, or NULL */
    uint64_t generation; /* of the newest one, 0 before the first */
    bool is_stored;      /* UUID.key or a guest's copy exists */
    bool is_clear;       /* UUID.base64 was there, and not read: the daemon is locked */
};

struct secret {
    struct secret_def *def;
    struct secret_value value;
    GArray *owners; /* the guests that have a copy of it (owners.h); NULL: it belongs to none */
};

/* A copy of `guest` for secret_value.owner; NULL for NULL. */
struct uuid *secret_value_owner(const struct uuid *guest);
void secret_value_clear(struct secret_value *value);
/* Moves `from`, which is empty then, over `to`. */
void secret_value_replace(struct secret_value *to, struct secret_value *from);
typedef struct secret_value secret_value_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(secret_value_t, secret_value_clear)

struct registry *registry_new(void);
void registry_free(struct registry *registry);

/* Borrowed, or NULL. */
struct secret *registry_find(const struct registry *registry, const struct uuid *uuid);
/* The same; nothing has the usage SECRET_USAGE_NONE. */
struct secret *registry_find_usage(const struct registry *registry, enum secret_usage_type type,
                                   const char *usage_id);
size_t registry_count(const struct registry *registry);
size_t registry_count_ephemeral(const struct registry *registry);

/* Adds a secret with `def` (taken); its uuid and usage are free (a bug otherwise). Quickest in the
 * order of uuids. */
struct secret *registry_add(struct registry *registry, struct secret_def *def);
/* Gives `secret` another definition (taken) of the same uuid; its usage is free or the same. */
void registry_redefine(struct registry *registry, struct secret *secret, struct secret_def *def);
void registry_remove(struct registry *registry, struct secret *secret);

/* Calls `func` for each, in the order of uuids; it must not change the registry. Stops when it
 * returns false. */
typedef bool (*registry_func)(const struct secret *secret, void *opaque);
void registry_foreach(const struct registry *registry, registry_func func, void *opaque);

/* The first `max` secrets (borrowed) in the order of uuids after `after` (NULL: from the start). */
GPtrArray *registry_page(const struct registry *registry, const struct uuid *after, size_t max);

/* For GHashTable: keys are `const struct secret_def *`, equal when their usages are. */
guint registry_usage_hash(gconstpointer key);
gboolean registry_usage_equal(gconstpointer a, gconstpointer b);

typedef struct registry registry_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(registry_t, registry_free)
