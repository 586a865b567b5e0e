/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is kept of a storage pool, as text: its policy, by which every volume that anything
 * creates in it is encrypted. One file a pool, SYSCONFDIR/libvirt/virtcrypt/pools/NAME.xml; a pool
 * without a policy has none.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

enum pool_policy { POOL_POLICY_NONE, POOL_POLICY_LUKS, POOL_POLICY_DM_CRYPT, POOL_POLICY_LAST };

enum { POOL_POLICY_XML_MAX = 64 * 1024 };

const char *pool_policy_name(enum pool_policy policy); /* "none", "luks", "dm-crypt" */
/* The other way round; ERROR_INVALID_ARG naming the three. */
bool pool_policy_find(const char *name, enum pool_policy *ret_policy, GError **error);

/* `pool` is the pool that it must be for. What is not understood is an error, never "none". */
bool pool_policy_parse(const char *pool, const char *xml, size_t len, enum pool_policy *ret_policy,
                       GError **error);
char *pool_policy_format(const char *pool, enum pool_policy policy);
