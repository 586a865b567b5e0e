/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt's pools as its own files say (RUNSTATEDIR/libvirt/storage/NAME.xml for one that it
 * started, SYSCONFDIR/libvirt/storage/NAME.xml for one whose target is there anyway), and what we
 * keep of a pool: its policy. libvirtd is never asked: it may be waiting for us.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/pool_def.h"
#include "conf/pool_policy.h"

struct storage_pools;

/* config_dir: SYSCONFDIR/libvirt/storage, or NULL. */
struct storage_pools *storage_pools_new(const char *state_dir, const char *config_dir,
                                        const char *policy_dir);
void storage_pools_free(struct storage_pools *pools);

/* A copy of an active pool; ERROR_NO_STORAGE_POOL, or ERROR_OPERATION_INVALID "storage pool 'x' is
 * not active" if it is only configured. */
struct pool_def *storage_pools_get(struct storage_pools *pools, const char *name, GError **error);

/* The policy is a file SYSCONFDIR/libvirt/virtcrypt/pools/NAME.xml; one that can't be read is an
 * error, never "none". */
bool storage_pools_get_policy(struct storage_pools *pools, const char *name,
                              enum pool_policy *ret_policy, GError **error);
bool storage_pools_set_policy(struct storage_pools *pools, const char *name,
                              enum pool_policy policy, GError **error);
