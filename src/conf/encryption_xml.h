/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: struct encryption as an XML element. Inside src/conf only.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

#include "conf/encryption.h"

/* Parses the element `node`. Several secrets, unknown elements, attributes or values, and options
 * of another engine than the one named are ERROR_XML (or ERROR_CONFIG_UNSUPPORTED if understood
 * and impossible), domain ERROR_FROM_STORAGE, each naming the word and what is possible. */
struct encryption *encryption_parse(xmlNodePtr node, GError **error);

/* Appends the element, `indent` spaces deep, as libvirt formats it; ours after libvirt's. */
void encryption_format(const struct encryption *encryption, unsigned int indent, GString *text);
