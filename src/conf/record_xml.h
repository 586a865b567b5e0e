/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the records that virtcryptd keeps (volume_record.h, guest_record.h) have in common: a
 * version, and elements that hold text, each there once. Reading is strict; errors name the element
 * (ERROR_XML, domain ERROR_FROM_STORAGE). Inside src/conf only.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

/* "no", "yes": by a bool. */
extern const char *const record_xml_yes_no[2];

/* The attribute version='1' of the root, and no other; another version is
 * ERROR_CONFIG_UNSUPPORTED. */
bool record_xml_check_version(const xmlNode *root, GError **error);

/* The child `name` of `node` holds text and nothing else. */
bool record_xml_get_text(const xmlNode *node, const char *name, char **ret_text, GError **error);
/* The same; NULL if there is no such child. */
bool record_xml_find_text(const xmlNode *node, const char *name, char **ret_text, GError **error);

/* The index of its text in `words`. */
bool record_xml_get_word(const xmlNode *node, const char *name, const char *const *words,
                         size_t count, int *ret_index, GError **error);
bool record_xml_get_yes_no(const xmlNode *node, const char *name, bool *ret_value, GError **error);
/* An absolute one. */
bool record_xml_get_path(const xmlNode *node, const char *name, char **ret_path, GError **error);
bool record_xml_get_uuid(const xmlNode *node, const char *name, struct uuid *ret_uuid,
                         GError **error);
/* Decimal, up to `max`; `what`: "a number of bytes". */
bool record_xml_get_number(const xmlNode *node, const char *name, const char *what, uint64_t max,
                           uint64_t *ret_number, GError **error);
