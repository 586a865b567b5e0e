/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the 12 secret calls that libvirtd makes, each of which is passed on to the
 * daemon. It keeps no secret and no value.
 */
#pragma once

#include "driver/libvirt_tables.h"

/* Not const only because libvirt's own functions take it like that. */
extern struct libvirt_secret_driver secret_forward_driver;
