/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which URI a client may open.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* `name` has scheme and path of `expected` ("secret:///system") and no host; a query may follow.
 * The errors are libvirt's. */
bool rpc_connect_uri_check(const char *name, const char *expected, GError **error);
