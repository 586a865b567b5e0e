/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which secrets an XML of a domain, of a snapshot or of a checkpoint refers to: disks with
 * their backing chains and mirrors, network disks and host devices (auth), TPM state. Pure.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/domain_disks.h"
#include "conf/secret_def.h"

struct domain_secret {
    char *place;   /* "disk vda", "tpm", "hostdev 0": for texts */
    bool has_uuid; /* else by usage */
    struct uuid uuid;
    enum secret_usage_type usage_type;
    char *usage;        /* or NULL */
    char *volume;       /* path of the file or device that it opens, "POOL/VOLUME" of a
                         * <source pool= volume=/>, or NULL: network, TPM */
    bool is_encryption; /* a key of data; else credentials of a server */
};

struct domain_secrets {
    char *name;         /* NULL in a snapshot or checkpoint that does not say it */
    struct uuid uuid;   /* all zero in one without <domain> */
    GPtrArray *secrets; /* of struct domain_secret; the same one may be there twice */
    GPtrArray *sources; /* of struct disk_source without `encryption`: all that is opened */
    GPtrArray *places;  /* of char *: where each of them is, as above */
};

/* Root element: domain, domstatus, domainsnapshot, domaincheckpoint (both of their <domain>,
 * <inactiveDomain> and own <disks>). */
struct domain_secrets *domain_secrets_parse(const char *xml, size_t len, GError **error);
void domain_secrets_free(struct domain_secrets *secrets);

/* What a secret that opens it has as `volume`, or NULL. Free. */
char *domain_secrets_name_volume(const struct disk_source *source);

typedef struct domain_secrets domain_secrets_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(domain_secrets_t, domain_secrets_free)
