/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: text as XML, in libvirt's form: single quotes, two spaces a level, the five predefined
 * entities. What reading would change (a carriage return; in an attribute a tab or newline, too) is
 * written as a reference, so that it is read back as it was. Control characters that XML cannot
 * hold are left out: whoever lets names in has to refuse them.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Whether XML can hold `text`: UTF-8, and no control characters but tab, newline and carriage
 * return. */
bool xml_can_hold(const char *text);

/* The general form: what stands for a tab, a newline and a carriage return is given. */
void xml_append_escaped(GString *out, const char *text, const char *tab, const char *newline,
                        const char *carriage_return);

/* Appends `text` as the content of an element. */
void xml_append_text(GString *out, const char *text);

/* Appends " name='value'"; nothing if `value` is NULL. */
void xml_append_attribute(GString *out, const char *name, const char *value);

/* Appends "<name>text</name>" on a line, `indent` spaces deep; nothing if `text` is NULL. */
void xml_append_element(GString *out, unsigned int indent, const char *name, const char *text);

/* Appends `indent` spaces. */
void xml_append_indent(GString *out, unsigned int indent);
