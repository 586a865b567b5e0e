/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the file with a token's PIN, which a URI's pin-source names.
 */
#pragma once

#include "util/secret_buf.h"

/* "/path" or "file:/path". The file is root's (or ours), for nobody else to read, and short; a line
 * break at its end is not the PIN's. */
struct secret_buf *unlock_pin_read(const char *pin_source, GError **error);
