/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the files that read and write secret definitions share. Not for other modules.
 */
#pragma once

#include <libxml/tree.h>

#include "conf/secret_def.h"

/* The child of <usage> that holds the usage id; NULL for SECRET_USAGE_NONE. */
const char *secret_def_usage_element(enum secret_usage_type type);

/* Reads `xml` if it is exactly what secret_def_format writes; NULL (which
 * is no error) for anything else. The answer is the one that secret_def_parse_document gives. */
struct secret_def *secret_def_parse_canonical(const char *xml, size_t len);

/* Reads any well-formed XML, with libvirt's rules and errors. */
struct secret_def *secret_def_parse_document(const char *xml, size_t len, bool validate,
                                             GError **error);

/* Applies the rules of libvirt's secret.rng to the <secret> element. */
bool secret_def_validate(const xmlNode *secret, GError **error);
