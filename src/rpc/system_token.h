/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt's system token: 32 hexadecimal characters in the file system.token of a folder that
 * only root (or, in a session, its user) can read. A daemon that shows it speaks for the host and
 * not for a user. Whichever daemon starts first makes it, under a lock.
 */
#pragma once

#include <glib.h>

#include "util/secret_buf.h"

enum { RPC_SYSTEM_TOKEN_LEN = 32 };

/* The token of `folder` ("/run/libvirt/common"), made if there is none. */
struct secret_buf *rpc_system_token_open(const char *folder, GError **error);
