/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls that every connection answers, whatever the server is for: authentication,
 * opening, closing, features, identity.
 */
#pragma once

#include "rpc/server.h"

void rpc_connect_calls_add(struct rpc_server *server);
