/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the file below /run that says which guests wait for the unlock: a line that names the
 * format, then a uuid a line. That it is there says that guests were looked for in this boot.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Array of struct uuid, ascending. ERROR_SYSTEM with ENOENT when there is no file; what is no such
 * file is ERROR_INTERNAL. */
GArray *guest_autostart_note_read(const char *path, GError **error);
bool guest_autostart_note_write(const char *path, const GArray *guests, GError **error);
