/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: virtcryptd's lists of guests and of their keys, which it gives a page at a time.
 */
#pragma once

#include <glib.h>

#include "rpc/client.h"
#include "rpc/protocol/virtcrypt_guest.h"

/* Of struct virtcrypt_guest_entry, in the order of uuids. */
GPtrArray *guest_pages_get_guests(struct rpc_client *client, GError **error);

/* Of struct virtcrypt_guest_key_entry, in the order of secret and guest. What `filter` says of
 * pages does not count. */
GPtrArray *guest_pages_get_keys(struct rpc_client *client,
                                const struct virtcrypt_guest_list_keys_args *filter,
                                GError **error);
