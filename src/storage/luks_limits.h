/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: how much work a LUKS header may ask of us before any key is tried. Whoever can write a
 * header chooses these numbers; without a bound one volume stops the daemon for hours.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct luks_context;

/* ERROR_CONFIG_UNSUPPORTED, naming what is too much. */
bool luks_limits_check(const struct luks_context *context, GError **error);
