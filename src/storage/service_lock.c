/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: service_lock.h.
 */
#include "storage/service_lock.h"

#include <stdbool.h>

#include "util/error.h"

struct holder {
    char *place; /* "POOL/VOLUME", the key */
    enum service_lock_mode mode;
    const char *doing;
    unsigned int count;
};

struct service_locks {
    GMutex mutex;
    GCond released;
    GHashTable *holders; /* place -> struct holder */
};

struct service_lock {
    struct service_locks *locks;
    struct holder *holder;
};

static void
holder_free(void *opaque)
{
    struct holder *holder = opaque;

    g_free(holder->place);
    g_free(holder);
}

struct service_locks *
service_locks_new(void)
{
    struct service_locks *locks = g_new0(struct service_locks, 1);

    g_mutex_init(&locks->mutex);
    g_cond_init(&locks->released);
    locks->holders = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, holder_free);
    return locks;
}

void
service_locks_free(struct service_locks *locks)
{
    if (!locks)
        return;
    g_hash_table_destroy(locks->holders);
    g_cond_clear(&locks->released);
    g_mutex_clear(&locks->mutex);
    g_free(locks);
}

static bool
is_in_the_way(const struct holder *holder, enum service_lock_mode mode)
{
    return holder && (mode == SERVICE_LOCK_EXCLUSIVE || holder->mode == SERVICE_LOCK_EXCLUSIVE);
}

/* With the mutex held. NULL: it stayed in the way, *ret_doing. */
static struct holder *
wait_for(struct service_locks *locks, const char *place, const struct service_lock_wish *wish,
         const char **ret_doing)
{
    gint64 end = g_get_monotonic_time() + (gint64)wish->wait_ms * G_TIME_SPAN_MILLISECOND;
    struct holder *holder = g_hash_table_lookup(locks->holders, place);

    while (is_in_the_way(holder, wish->mode)) {
        *ret_doing = holder->doing;
        if (wish->wait_ms == 0 || !g_cond_wait_until(&locks->released, &locks->mutex, end))
            return NULL;
        holder = g_hash_table_lookup(locks->holders, place);
    }
    if (!holder) {
        holder = g_new0(struct holder, 1);
        holder->place = g_strdup(place);
        holder->mode = wish->mode;
        holder->doing = wish->doing;
        g_hash_table_insert(locks->holders, holder->place, holder);
    }
    holder->count++;
    return holder;
}

struct service_lock *
service_lock_take(struct service_locks *locks, const char *pool, const char *name,
                  const struct service_lock_wish *wish, GError **error)
{
    g_autofree char *place = g_strdup_printf("%s/%s", pool, name);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&locks->mutex);
    const char *doing = NULL;
    struct holder *holder = wait_for(locks, place, wish, &doing);
    struct service_lock *lock;

    if (!holder) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_RESOURCE_BUSY,
                  "volume '%s' of pool '%s' is %s: try again when that is done", name, pool, doing);
        return NULL;
    }
    lock = g_new0(struct service_lock, 1);
    lock->locks = locks;
    lock->holder = holder;
    return lock;
}

void
service_lock_free(struct service_lock *lock)
{
    g_autoptr(GMutexLocker) locker = NULL;

    if (!lock)
        return;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) held to the end of the scope */
    locker = g_mutex_locker_new(&lock->locks->mutex);
    if (--lock->holder->count == 0)
        g_hash_table_remove(lock->locks->holders, lock->holder->place);
    g_cond_broadcast(&lock->locks->released);
    g_free(lock);
}
