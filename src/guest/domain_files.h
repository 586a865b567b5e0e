/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the second witness that a guest is gone: libvirt's own definitions, as files. They are
 * searched for uuids, not understood.
 */
#pragma once

#include <glib.h>

/* Set of all struct uuid that files DIR/NAME.xml call a <uuid>. No folder: an empty one. */
GHashTable *guest_domain_files_read(const char *dir, GError **error);
