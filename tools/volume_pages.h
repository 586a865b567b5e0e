/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the whole list of volumes, which virtcryptd gives a page at a time.
 */
#pragma once

#include <glib.h>

#include "rpc/client.h"
#include "rpc/protocol/virtcrypt_volume.h"

/* Of struct virtcrypt_volume_entry, in order of pool and name; of all pools with NULL. */
GPtrArray *volume_pages_get(struct rpc_client *client, char *pool, GError **error);
