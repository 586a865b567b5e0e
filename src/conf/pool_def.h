/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is needed of a storage pool's XML: <pool>, or the <poolstate> that libvirt keeps of
 * active pools in RUNSTATEDIR/libvirt/storage/NAME.xml.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/uuid.h"

enum pool_type {
    POOL_TYPE_DIR, /* dir, fs, netfs: a folder with files */
    POOL_TYPE_LOGICAL,
    POOL_TYPE_OTHER, /* none of ours */
};

struct pool_def {
    char *name;
    struct uuid uuid;
    enum pool_type type;
    char *type_name;   /* "netfs" */
    char *source_name; /* of a volume group; else NULL */
    char *target_path; /* without a trailing slash; NULL if there is none */
};

enum { POOL_DEF_XML_MAX = 1024 * 1024 };

struct pool_def *pool_def_parse(const char *xml, size_t len, GError **error);
struct pool_def *pool_def_copy(const struct pool_def *def);
void pool_def_free(struct pool_def *def);

typedef struct pool_def pool_def_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(pool_def_t, pool_def_free)
