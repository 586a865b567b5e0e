/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: asking a person for a value on the terminal, without echo.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/secret_buf.h"

/* Prints `prompt` and reads a line, without its end, from the terminal, or from standard input
 * where there is no terminal. If `again` is not NULL and there is a terminal, asks a second time
 * with that prompt, and two that differ are an error. The terminal is as before afterwards, also
 * when a signal stops or ends the program meanwhile. */
struct secret_buf *terminal_ask(const char *prompt, const char *again, size_t max, GError **error);
