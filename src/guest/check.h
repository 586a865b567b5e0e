/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: whether a guest of that XML would start, as far as its keys go: which there are, and
 * whether they open the headers. Nothing is changed, and images that a guest has open are read all
 * the same. libvirt is not asked.
 */
#pragma once

#include <glib.h>

#include "guest/service.h"

struct guest_check *guest_check_make(struct guest_service *service, const char *name,
                                     const char *xml, GError **error);
