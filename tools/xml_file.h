/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading a file with XML for a command.
 */
#pragma once

#include <glib.h>

/* The file's text, at most virsh's bound of 10 MiB. Errors are virsh's. */
char *xml_file_read(const char *path, GError **error);
