/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt's positive answer about one guest: it is there, or it is not. Anything else is an
 * error, and decides nothing. Inside src/guest only.
 */
#pragma once

#include "guest/service_state.h"

/* *ret_seen is NULL if libvirt says that there is no such guest. */
bool guest_answer_get(struct guest_service *service, const struct uuid *guest,
                      struct guest_seen **ret_seen, GError **error);

/* That libvirt has no definition of it on disk, either, which it may have failed to load. */
bool guest_answer_check_gone(struct guest_service *service, const struct guest_record *record,
                             GError **error);

/* Seconds since 1970, as in records. */
int64_t guest_answer_now(void);
