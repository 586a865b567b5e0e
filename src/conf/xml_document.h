/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the one way XML text becomes a tree here: no network, no document type declarations and so
 * no entities but the predefined ones, libxml2's own bounds on depth, libvirt's form of errors. And
 * the few questions we ask a tree, answered as libvirt's XPath expressions answer them.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

#include "util/error.h"

/* Parses `len` bytes of UTF-8 (an encoding declared in the text is ignored, as libvirt does).
 * `name` stands for the file in error texts; parser errors have code ERROR_XML_DETAIL. The root
 * must be an element called `root` (else ERROR_XML with domain ERROR_FROM_XML); with NULL, the
 * caller looks at it. */
xmlDoc *xml_document_parse(const char *name, const char *root, const char *xml, size_t len,
                           enum error_domain domain, GError **error);
void xml_document_free(xmlDoc *doc);

/* `node` or the first sibling after it that is an element `name` without a namespace; or NULL. */
xmlNode *xml_find_element(xmlNode *node, const char *name);

/* The text within `element`, markup dropped; NULL when it is empty or `element` is NULL. */
char *xml_get_text(const xmlNode *element);

/* The value of an attribute without a namespace; NULL when it is empty or not there, or `element`
 * is NULL. */
char *xml_get_attribute(const xmlNode *element, const char *name);

bool xml_has_attribute(const xmlNode *element, const char *name);

typedef xmlDoc xml_document_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xml_document_t, xml_document_free)
