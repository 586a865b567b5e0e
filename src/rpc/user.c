/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see user.h.
 */
#include "rpc/user.h"

#include <unistd.h>

bool
rpc_user_is_privileged(uid_t uid)
{
    return uid == 0 || uid == geteuid();
}

static void
user_free(void *opaque)
{
    struct rpc_user *user = opaque;

    loop_group_free(user->group);
    g_free(user);
}

GHashTable *
rpc_user_table_new(void)
{
    return g_hash_table_new_full(NULL, NULL, NULL, user_free);
}

struct rpc_user *
rpc_user_take(GHashTable *users, struct loop *loop, uid_t uid, GError **error)
{
    struct rpc_user *user = g_hash_table_lookup(users, GUINT_TO_POINTER(uid));

    if (!user) {
        bool is_privileged = rpc_user_is_privileged(uid);
        struct loop_group *group = is_privileged ? NULL : loop_group_new(loop, error);

        if (!is_privileged && !group)
            return NULL;
        user = g_new0(struct rpc_user, 1);
        user->uid = uid;
        user->is_privileged = is_privileged;
        user->group = group;
        g_hash_table_insert(users, GUINT_TO_POINTER(uid), user);
    }
    user->clients++;
    return user;
}

void
rpc_user_drop(GHashTable *users, struct rpc_user *user)
{
    if (--user->clients == 0)
        g_hash_table_remove(users, GUINT_TO_POINTER(user->uid));
}

bool
rpc_user_may_take(unsigned int own, unsigned int used, unsigned int max)
{
    return max == 0 || (used < max && own < max - used);
}
