/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a domain's XML that is to be defined together with keys: which volumes its disks name (by
 * what a person may call them), and putting the secrets of those into it. All the rest stays byte
 * for byte. Pure.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/domain_disks.h"

struct domain_volume {
    char *target;       /* of its disk: "vda" */
    unsigned int disk;  /* in the order of the XML, from 0 */
    unsigned int layer; /* 0: the disk's own <source>; 1: that of its <backingStore>, and so on */
    enum disk_source_type type;
    char *path;                    /* FILE, BLOCK; or NULL: an empty drive */
    char *pool;                    /* VOLUME */
    char *volume;                  /* VOLUME */
    char *format;                  /* "qcow2"; or NULL: none said (libvirt: raw) */
    struct encryption *encryption; /* or NULL */
};

struct domain_keys {
    char *name;
    bool has_uuid; /* else libvirt would generate one */
    struct uuid uuid;
    GPtrArray *volumes; /* of struct domain_volume */
};

struct domain_keys *domain_keys_parse(const char *xml, size_t len, GError **error);
void domain_keys_free(struct domain_keys *keys);

/* The disk called `name`: its target, the path of a source, or POOL/VOLUME. The target means the
 * disk's own source. ERROR_INVALID_ARG if there is none, or it has no volume. */
const struct domain_volume *domain_keys_find(const struct domain_keys *keys, const char *name,
                                             GError **error);

/* A secret for a volume whose <encryption> is missing, or names none. */
struct domain_key_place {
    const struct domain_volume *volume;
    struct uuid secret;
};

/* `xml`, which `keys` was parsed of, with these secrets put in, and `uuid` if it has none. */
char *domain_keys_put(const char *xml, const struct domain_keys *keys, const struct uuid *uuid,
                      const struct domain_key_place *places, size_t count, GError **error);

typedef struct domain_keys domain_keys_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(domain_keys_t, domain_keys_free)
