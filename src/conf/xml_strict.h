/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading elements of which nothing may be overlooked: what is not in the given list is an
 * error (ERROR_XML, domain ERROR_FROM_STORAGE) that names it and what is possible. And the few
 * kinds of values that our XML is made of.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <stdint.h>

/* `names` is NULL-terminated. */
bool xml_check_attributes(const xmlNode *element, const char *const *names, GError **error);

/* That `element` holds elements of `names` only, each at most once, and no text. */
bool xml_check_children(const xmlNode *element, const char *const *names, GError **error);

/* Decimal digits, perhaps after white space and a '+', as libvirt takes them; false without an
 * error otherwise, or if the number is greater than `max`. */
bool xml_parse_number(const char *text, uint64_t max, uint64_t *ret_number);

/* The index of `text` in `names`, or -1. */
int xml_find_name(const char *text, const char *const *names, size_t count);

/* "'a', 'b' or 'c'", for error texts; NULL entries are left out. */
char *xml_list_names(const char *const *names, size_t count);
