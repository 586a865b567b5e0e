/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the secrets that exist, in memory, found by uuid and by usage in constant time. No disk, no
 * values but ephemeral ones. Only the loop's thread touches it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/secret_def.h"
#include "util/secret_buf.h"

struct registry;

struct secret {
    struct secret_def *def;
    GBytes *sealed;           /* cached sealed value, or NULL */
    struct secret_buf *value; /* of an ephemeral secret only */
    bool has_stored_value;    /* UUID.key exists */
    char *unavailable;        /* why its value can't be used although it is there, or NULL */
    uint64_t generation;      /* of the newest value, 0 before the first */
};

struct registry *registry_new(void);
void registry_free(struct registry *registry);

/* Borrowed, or NULL. */
struct secret *registry_find(const struct registry *registry, const struct uuid *uuid);
struct secret *registry_find_usage(const struct registry *registry, enum secret_usage_type type,
                                   const char *usage_id);
size_t registry_count(const struct registry *registry);
size_t registry_count_ephemeral(const struct registry *registry);

/* Adds a secret with `def` (taken); its uuid and usage are free (a bug otherwise). */
struct secret *registry_add(struct registry *registry, struct secret_def *def);
/* Gives `secret` another definition (taken) of the same uuid. */
void registry_redefine(struct registry *registry, struct secret *secret, struct secret_def *def);
void registry_remove(struct registry *registry, struct secret *secret);

/* Calls `func` for each; it must not change the registry. Stops when it returns false. */
typedef bool (*registry_func)(const struct secret *secret, void *opaque);
void registry_foreach(const struct registry *registry, registry_func func, void *opaque);

/* The first `max` secrets by uuid order after `after` (NULL: from the start), for paged lists. */
GPtrArray *registry_page(const struct registry *registry, const struct uuid *after, size_t max);
