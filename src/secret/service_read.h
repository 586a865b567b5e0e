/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which of the files that may hold a secret's value counts; see service_read.c. Also for who
 * reads a store without a service (src/recover).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret/generations.h"
#include "secret/registry.h"
#include "secret/store.h"
#include "secret/value_index.h"

/* Where it may be. Borrowed. */
struct service_source {
    struct store *store;
    const struct generations *generations; /* NULL: nothing can be proven */
    const struct value_index *index;       /* NULL: nothing is too old */
    const struct secret_def *def;
    const GArray *owners; /* guests that have a copy, or are believed to */
    GBytes *known;        /* preferred among those that are as good; or NULL */
};

struct service_reading {
    struct secret_value value; /* the newest good one; without any, why it is unavailable */
    bool is_foreign;           /* that is: a key is needed that is not here */
    bool is_old;               /* that is: it is good, and older than what the index says */
    GArray *stale;             /* guests whose copies are older, or NULL */
    bool has_stale_key;        /* UUID.key is there, and good, beside a guest's good copy */
    GPtrArray *problems;       /* of the others, naming the file; NULL before service_read */
};

void service_reading_clear(struct service_reading *reading);
/* Any thread may call it. */
void service_read(const struct service_source *source, struct service_reading *ret_reading);

typedef struct service_reading service_reading_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(service_reading_t, service_reading_clear)
