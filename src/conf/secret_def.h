/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a secret's definition and its XML, in libvirt's format
 * (https://libvirt.org/formatsecret.html). Text in, struct out, and back; no files, no values.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/uuid.h"

/* Numbers of virSecretUsageType. */
enum secret_usage_type {
    SECRET_USAGE_NONE = 0,
    SECRET_USAGE_VOLUME = 1,
    SECRET_USAGE_CEPH = 2,
    SECRET_USAGE_ISCSI = 3,
    SECRET_USAGE_TLS = 4,
    SECRET_USAGE_VTPM = 5,
    SECRET_USAGE_LAST = 6,
};

struct secret_def {
    struct uuid uuid;
    enum secret_usage_type usage_type;
    bool is_ephemeral;
    bool is_private;
    char *description; /* or NULL */
    char *usage_id;    /* NULL exactly when usage_type is SECRET_USAGE_NONE */
};

/* The longest XML taken, in bytes; longer input is an error before it is parsed. */
enum { SECRET_DEF_XML_MAX = 1024 * 1024 };

/* Parses `xml`. A UUID is generated when it has none. With `validate`, what libvirt's schema would
 * refuse is refused too (ERROR_XML_INVALID_SCHEMA). */
struct secret_def *secret_def_parse(const char *xml, size_t len, bool validate, GError **error);

/* The canonical XML, for files and for answers. It is what libvirt writes, but for a carriage
 * return: libvirt writes that raw, and reading turns it into a newline, so that the usage id (which
 * a sealed value is bound to) would change with the next start. Here it is the reference "&#13;",
 * which libvirt reads, too. secret_def_parse gives back an equal definition. */
char *secret_def_format(const struct secret_def *def);

/* Byte for byte what `virsh secret-dumpxml` of libvirt prints. Not for files. */
char *secret_def_format_dumpxml(const struct secret_def *def);

struct secret_def *secret_def_copy(const struct secret_def *def);
void secret_def_free(struct secret_def *def);

/* "volume" and so on; for error texts and XML. */
const char *secret_usage_type_name(enum secret_usage_type type);

typedef struct secret_def secret_def_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(secret_def_t, secret_def_free)
