/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: who works on which volume: one operation that changes it, or several that only read it.
 * A volume need not exist to be locked. Inside src/storage only.
 */
#pragma once

#include <glib.h>

struct service_locks;
struct service_lock;

enum service_lock_mode { SERVICE_LOCK_SHARED, SERVICE_LOCK_EXCLUSIVE };

struct service_locks *service_locks_new(void);
void service_locks_free(struct service_locks *locks);

struct service_lock_wish {
    enum service_lock_mode mode;
    const char *doing; /* what others are told: "being created"; a literal */
    unsigned int wait_ms;
};

/* ERROR_RESOURCE_BUSY "volume 'x' of pool 'p' is being created" if it is not free in time. */
struct service_lock *service_lock_take(struct service_locks *locks, const char *pool,
                                       const char *name, const struct service_lock_wish *wish,
                                       GError **error);
void service_lock_free(struct service_lock *lock);

typedef struct service_lock service_lock_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(service_lock_t, service_lock_free)
