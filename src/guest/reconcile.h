/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: looks: plans made for guests and carried out.
 */
#pragma once

#include "guest/service_state.h"

/* Looks at these guests (array of struct uuid), or at all with NULL. Guests that another operation
 * is under way for are left for the next look. *ret_look_again: seconds since 1970, or 0. */
bool guest_reconcile(struct guest_service *service, const GArray *guests, int64_t *ret_look_again,
                     GError **error);
