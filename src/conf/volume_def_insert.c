/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: putting <encryption> into a volume's XML without touching the rest.
 */
#include "conf/volume_def.h"

#include <string.h>

#include "conf/encryption_xml.h"
#include "conf/xml_document.h"
#include "conf/xml_scan.h"
#include "util/error.h"

/* In the order in which libvirt writes them. */
static const char *const after_encryption[] = {"compat", "clusterSize", "nocow", "features"};

/* Where the element goes. */
struct place {
    struct xml_span target;   /* of the tag <target/>; else start is NULL */
    struct xml_span existing; /* of the element to replace; else start is NULL */
    const char *before;       /* the tag to put it before; NULL: not found yet */
    bool is_twice;
};

/* A child of <target> begins. */
static void
see_child(const struct xml_tag *tag, struct place *place)
{
    if (xml_scan_is(tag, "encryption")) {
        place->is_twice = place->existing.start != NULL;
        place->existing = tag->span;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(after_encryption); i++) {
        if (!place->before && xml_scan_is(tag, after_encryption[i]))
            place->before = tag->span.start;
    }
}

/* `depth` of the document's element is 0. The first <target> counts, as in libvirt. */
static void
scan(const char *xml, struct place *place)
{
    bool in_target = false;
    bool in_existing = false;
    unsigned int depth = 0;
    struct xml_tag tag;

    for (const char *at = xml; xml_scan_next(at, &tag); at = tag.span.end) {
        if (tag.is_closing)
            depth--;
        if (depth == 1 && xml_scan_is(&tag, "target")) {
            if (tag.is_closing || tag.is_empty) {
                place->target = tag.is_empty ? tag.span : place->target;
                place->before = place->before ? place->before : tag.span.start;
                return;
            }
            in_target = true;
        } else if (depth == 2 && in_target && !tag.is_closing) {
            see_child(&tag, place);
            in_existing = xml_scan_is(&tag, "encryption") && !tag.is_empty;
        } else if (depth == 2 && in_existing) {
            place->existing.end = tag.span.end;
            in_existing = false;
        }
        if (!tag.is_closing && !tag.is_empty)
            depth++;
    }
}

static char *
replace(const char *xml, struct xml_span existing, const struct encryption *encryption)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int indent = xml_scan_indent(xml, existing.start);

    encryption_format(encryption, (unsigned int)MAX(indent, 0), text);
    g_string_truncate(text, text->len - 1); /* the newline after the element is there already */
    g_string_erase(text, 0, MAX(indent, 0));
    return xml_scan_replace(xml, existing, text->str);
}

/* An element of its own line goes before the line of `before`. */
static char *
insert(const char *xml, const char *before, const struct encryption *encryption)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int indent = xml_scan_indent(xml, before);
    const char *at = before - MAX(indent, 0);

    encryption_format(encryption, 4, text);
    return xml_scan_replace(xml, (struct xml_span){at, at}, text->str);
}

static char *
expand_target(const char *xml, struct xml_span target, const struct encryption *encryption)
{
    g_autoptr(GString) text = g_string_new("<target>\n");

    encryption_format(encryption, 4, text);
    g_string_append(text, "  </target>");
    return xml_scan_replace(xml, target, text->str);
}

char *
volume_def_put_encryption(const char *xml, const struct encryption *encryption, GError **error)
{
    g_autoptr(xml_document_t) doc = xml_document_parse("(storage_volume_definition)", "volume", xml,
                                                       strlen(xml), ERROR_FROM_STORAGE, error);
    struct place place = {0};

    if (!doc)
        return NULL;
    scan(xml, &place);
    if (!place.before) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "the volume's XML has no element <target>");
        return NULL;
    }
    if (place.is_twice) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "element 'target' holds 'encryption' more than once; leave one");
        return NULL;
    }
    if (place.existing.start)
        return replace(xml, place.existing, encryption);
    if (place.target.start)
        return expand_target(xml, place.target, encryption);
    return insert(xml, place.before, encryption);
}
