/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a user who has clients on a server, so that one user's clients don't cost the others
 * theirs. All clients of a user other than root and ourselves come up in the loop as often as one
 * client of root's.
 *
 * Of places of any kind (clients, clients that authenticate, clients that wait for that) a user
 * gets no more than stay free: the first one half, the next one half of the rest, and so on.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "util/loop.h"

struct rpc_user {
    uid_t uid;
    bool is_privileged;       /* root or ourselves */
    struct loop_group *group; /* NULL if privileged */
    unsigned int clients;
    unsigned int anonymous; /* not authenticated, and not waiting */
    unsigned int waiting;
    size_t held; /* bytes, while somebody counts them */
};

bool rpc_user_is_privileged(uid_t uid);

/* A table of users by uid. */
GHashTable *rpc_user_table_new(void);

/* The user with one client more. */
struct rpc_user *rpc_user_take(GHashTable *users, struct loop *loop, uid_t uid, GError **error);
/* One client less; the user is forgotten with the last one. */
void rpc_user_drop(GHashTable *users, struct rpc_user *user);

/* Whether a user who has `own` of the `used` places of `max` may take one more. 0: no limit. */
bool rpc_user_may_take(unsigned int own, unsigned int used, unsigned int max);
