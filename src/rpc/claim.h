/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a peer says about the caller it acts for: the typed parameters of
 * CONNECT_SET_IDENTITY.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "rpc/identity.h"
#include "rpc/protocol/remote_types.h"
#include "util/secret_buf.h"

/* Replaces all that was claimed in `identity` by `params`; it is elevated if they show `token`
 * (NULL: never). An unknown, doubled or wrongly typed parameter is libvirt's error, and `identity`
 * is unchanged then. A token among `params` is wiped. */
bool rpc_claim_apply(struct rpc_identity *identity, const struct remote_typed_param *params,
                     uint32_t count, const struct secret_buf *token, GError **error);
