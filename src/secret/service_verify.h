/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: looking at every file of the store on disk, while it is in use: whether it is authentic,
 * and as new as what is in use. In steps of a bounded number of files. Changes nothing.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "secret/service.h"
#include "util/uuid.h"

/* A file that is not as it should be, and what to do. */
struct service_finding {
    char *file;
    char *problem;
};
struct service_finding *service_finding_new(const char *file, const char *problem);
GPtrArray *service_findings_new(void);

/* Files that no secret in memory stands for: array of struct service_finding. */
GPtrArray *service_find_unknown(struct secret_service *service, GError **error);

/* The files of a step, at least; those of one secret are in one step. */
enum { SERVICE_VERIFY_FILES = 64 };

struct service_verification {
    uint32_t checked;    /* files that were read */
    GPtrArray *findings; /* of struct service_finding */
    bool has_last;       /* secrets were looked at, the last of which is `last` */
    struct uuid last;
    bool more; /* others come after that */
};
void service_verification_clear(struct service_verification *verification);

/* The step after the secret `after`; NULL: the first, which has the files of the store itself, too.
 * At most `max` secrets. ERROR_OPERATION_INVALID while locked, ERROR_OPERATION_UNSUPPORTED where
 * nothing is kept on disk. */
bool secret_service_verify(struct secret_service *service, const struct uuid *after, size_t max,
                           struct service_verification *ret_verification, GError **error);

typedef struct service_verification service_verification_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(service_verification_t, service_verification_clear)
