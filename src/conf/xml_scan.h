/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: finding places in XML text, so that something is put in and every other byte stays. The
 * text must have been taken by xml_document_parse: well-formed, and without a document type. Then a
 * scan for tags needs to know only comments, CDATA sections, processing instructions and quoted
 * values. Inside src/conf only.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct xml_span {
    const char *start;
    const char *end;
};

struct xml_tag {
    struct xml_span span;
    struct xml_span name;
    bool is_closing; /* </a> */
    bool is_empty;   /* <a/> */
};

/* The next tag from `at`; false at the end of the text. */
bool xml_scan_next(const char *at, struct xml_tag *ret_tag);
bool xml_scan_is(const struct xml_tag *tag, const char *name);

/* How many spaces or tabs precede `at` in its line; -1 if something else is there. */
int xml_scan_indent(const char *xml, const char *at);

/* `xml` with `text` in the place of `replaced`, which may be empty. */
char *xml_scan_replace(const char *xml, struct xml_span replaced, const char *text);
