/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a request to create a volume comes to: kind, encryption, paths, whose key. Nothing is
 * changed by planning. Inside src/storage only.
 */
#pragma once

#include "storage/service_source.h"

enum service_key_from {
    SERVICE_KEY_GENERATED,
    SERVICE_KEY_GIVEN,  /* in the request */
    SERVICE_KEY_NAMED,  /* a secret that the XML names */
    SERVICE_KEY_SOURCE, /* the secret of the clone's source */
};

struct service_plan {
    struct pool_def *pool;
    struct volume_def *def;
    struct service_source *source; /* or NULL */
    bool is_decrypted;             /* the clone is cleartext */
    enum service_key_from key_from;
    struct volume_record *record; /* CREATING; its secret is set by the caller unless it is named
                                   * by uuid */
};

/* What ours is: see storage_service_wants. */
bool service_plan_wants(struct storage_service *service,
                        const struct storage_create_request *request, bool *ret_wants,
                        GError **error);
struct service_plan *service_plan_new(struct storage_service *service,
                                      const struct storage_create_request *request, GError **error);
void service_plan_free(struct service_plan *plan);

typedef struct service_plan service_plan_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(service_plan_t, service_plan_free)
