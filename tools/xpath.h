/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the part of an XML document that an XPath expression picks.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* The nodes of `xml` that `expression` picks, each ended by a line break; with `wrap` all of them
 * in one element <nodes>. Another result than nodes is an error. */
char *xpath_pick(const char *xml, const char *expression, bool wrap, GError **error);

/* The text that the expression is; NULL if it is empty, or the XML malformed. */
char *xpath_get_text(const char *xml, const char *expression);
