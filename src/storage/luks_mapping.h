/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: mending what a killed process left in device-mapper. Inside luks_*.c only.
 */
#pragma once

/* Removes a device of that name that never got a table; any other stays. Hold the lock. */
void luks_mapping_remove_unfinished(const char *name);
