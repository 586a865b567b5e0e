/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a copy of the whole store as it is at one instant, as the bytes of a backup
 * (docs/backup.md). Taken in one go, from memory and by references; encrypted as it is read. What
 * can't be in it is named.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "secret/service.h"

struct service_backup;

/* ERROR_OPERATION_INVALID while locked, or while the slots are not authentic;
 * ERROR_OPERATION_UNSUPPORTED where nothing is kept on disk. */
struct service_backup *service_backup_new(struct secret_service *service, GError **error);
void service_backup_free(struct service_backup *backup);

uint64_t service_backup_size(const struct service_backup *backup);  /* in bytes */
uint32_t service_backup_count(const struct service_backup *backup); /* of secrets */
/* What is not in it, and why: array of struct service_finding. */
const GPtrArray *service_backup_lost(const struct service_backup *backup);

/* Up to `max` bytes from `at` on, at least one unless that is the end. The same bytes each time. */
GBytes *service_backup_read(const struct service_backup *backup, uint64_t at, size_t max,
                            GError **error);

typedef struct service_backup service_backup_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(service_backup_t, service_backup_free)
