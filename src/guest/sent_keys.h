/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: keys that come with a guest's definition: which volume each is for, which secret it
 * becomes, and that it is the right one. Everything that can be refused is refused here, and
 * nothing is changed. Inside src/guest only.
 */
#pragma once

#include "conf/domain_keys.h"
#include "guest/service_state.h"

struct guest_sent_key {
    const struct domain_volume *volume; /* of the domain_keys */
    char *path;                         /* of the volume; NULL: it has none (network) */
    struct uuid secret;
    bool is_in_xml;               /* which names that secret already */
    bool is_generated;            /* by us, now */
    struct secret_def *def;       /* of a secret that is to be made; NULL: it is there already, with
                                   * the same value */
    struct secret_buf *generated; /* or NULL */
    const struct secret_buf *key; /* of a secret that is to be made: `generated`, or as it was
                                   * given */
};

/* Array of struct guest_sent_key, in the order of the request, which has to outlive it. */
GPtrArray *guest_sent_keys_find(struct guest_service *service, const struct domain_keys *domain,
                                const struct guest_define_request *request, GError **error);
