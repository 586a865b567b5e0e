/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the life of a secret's definition and the names of usage types. Reading XML is in
 * secret_def_parse.c, writing it in secret_def_format.c.
 */
#include "conf/secret_def.h"

static const char *const usage_type_names[] = {
    [SECRET_USAGE_NONE] = "none",   [SECRET_USAGE_VOLUME] = "volume", [SECRET_USAGE_CEPH] = "ceph",
    [SECRET_USAGE_ISCSI] = "iscsi", [SECRET_USAGE_TLS] = "tls",       [SECRET_USAGE_VTPM] = "vtpm",
};
G_STATIC_ASSERT(G_N_ELEMENTS(usage_type_names) == SECRET_USAGE_LAST);

const char *
secret_usage_type_name(enum secret_usage_type type)
{
    return (unsigned int)type < SECRET_USAGE_LAST ? usage_type_names[type] : "unknown";
}

struct secret_def *
secret_def_copy(const struct secret_def *def)
{
    struct secret_def *copy = g_new(struct secret_def, 1);

    *copy = *def;
    copy->description = g_strdup(def->description);
    copy->usage_id = g_strdup(def->usage_id);
    return copy;
}

void
secret_def_free(struct secret_def *def)
{
    if (!def)
        return;
    g_free(def->description);
    g_free(def->usage_id);
    g_free(def);
}
