/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: questions to whoever answers systemd's (systemd-ask-password(1)): a console at boot,
 * Plymouth, a terminal.
 */
#pragma once

#include <glib.h>

#include "util/secret_buf.h"

/* What was typed, at most `max` bytes. Waits for at most `timeout_s` seconds. */
struct secret_buf *ask_password(const char *prompt, unsigned int timeout_s, size_t max,
                                GError **error);
