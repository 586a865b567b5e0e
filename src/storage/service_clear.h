/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the one way to cleartext: a clone that its client asked for with STORAGE_CREATE_DECRYPT.
 * Inside src/storage only.
 */
#pragma once

#include "storage/service_plan.h"

/* The source is open. There is no record when it is done, but one while it is made, so that a stop
 * leaves nothing. */
struct storage_volume *service_clear_create(struct storage_service *service,
                                            struct service_plan *plan,
                                            struct storage_progress *progress, GError **error);
