/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the functions that take the place of those of libvirt's own storage driver, by file. Each
 * sees first whether the volume or the pool is one of virtcrypt's, which costs a look at a name in
 * a folder; if it is not, libvirt's own function does all, with nothing changed.
 */
#pragma once

#include "driver/libvirt_tables.h"

/* Each writes its functions into libvirt's table. */
void storage_create_install(struct libvirt_storage_driver *table);
void storage_list_install(struct libvirt_storage_driver *table);
void storage_lookup_install(struct libvirt_storage_driver *table);
void storage_stream_install(struct libvirt_storage_driver *table);
void storage_volume_install(struct libvirt_storage_driver *table);
