/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what service_load.c, which reads, hands to service_show.c, which takes it over. Not for
 * other files.
 */
#pragma once

#include "secret/service_state.h"

/* What was found for one uuid. */
struct load {
    struct store_entry entry;
    GArray *owners;         /* guests that have a copy */
    struct secret_def *def; /* NULL: not readable, see `problem` */
    char *problem;
    GBytes *known; /* its sealed value, if one is in use that is good for `def`, or NULL */
    bool is_known; /* the file that counts has the same */
    struct service_reading reading;
};

struct loading {
    struct secret_service *service;
    struct service_stock stock;
    GArray *loads; /* of struct load, in the order of uuids */
};

static inline struct load *
service_load_at(const struct loading *loading, size_t index)
{
    return &g_array_index(loading->loads, struct load, index);
}

/* Takes over what was found, in the order of uuids. Adds to `clear` the uuids of clear values to
 * import, and to `repairs` (of service_repairs_new) what is to be written anew. */
void service_show(struct loading *loading, GArray *clear, GArray *repairs);
