/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: putting <encryption> into a volume's XML without touching the rest. libxml2 says that the
 * text is well-formed and has no document type; then a scan for tags, which needs to know only
 * comments, CDATA sections, processing instructions and quoted values, finds the place.
 */
#include "conf/volume_def.h"

#include <string.h>

#include "conf/encryption_xml.h"
#include "conf/xml_document.h"
#include "util/error.h"

struct span {
    const char *start;
    const char *end;
};

struct tag {
    struct span span;
    struct span name;
    bool is_closing; /* </a> */
    bool is_empty;   /* <a/> */
};

/* In the order in which libvirt writes them. */
static const char *const after_encryption[] = {"compat", "clusterSize", "nocow", "features"};

/* Where the element goes. */
struct place {
    struct span target;   /* of the tag <target/>; else start is NULL */
    struct span existing; /* of the element to replace; else start is NULL */
    const char *before;   /* the tag to put it before; NULL: not found yet */
    bool is_twice;
};

/* The end of a construct that begins with `open` and ends with `close`, if `at` is one. */
static const char *
skip_construct(const char *at, const char *open, const char *close)
{
    const char *end;

    if (!g_str_has_prefix(at, open))
        return NULL;
    end = strstr(at + strlen(open), close);
    return end ? end + strlen(close) : NULL;
}

static const char *
skip_markup(const char *at)
{
    const char *end = skip_construct(at, "<!--", "-->");

    end = end ? end : skip_construct(at, "<![CDATA[", "]]>");
    return end ? end : skip_construct(at, "<?", "?>");
}

static const char *
find_tag_end(const char *at)
{
    while (*at && *at != '>') {
        if (*at == '"' || *at == '\'') {
            at = strchr(at + 1, *at);
            if (!at)
                return NULL;
        }
        at++;
    }
    return *at ? at + 1 : NULL;
}

/* The next tag from `at`; false at the end of the text. */
static bool
next_tag(const char *at, struct tag *ret_tag)
{
    struct tag tag = {0};
    const char *skipped;

    while ((at = strchr(at, '<')) && (skipped = skip_markup(at)))
        at = skipped;
    if (!at)
        return false;
    tag.span = (struct span){at, find_tag_end(at)};
    if (!tag.span.end)
        return false;
    tag.is_closing = at[1] == '/';
    tag.is_empty = tag.span.end[-2] == '/';
    tag.name.start = at + (tag.is_closing ? 2 : 1);
    tag.name.end = tag.name.start + strcspn(tag.name.start, " \t\r\n/>");
    *ret_tag = tag;
    return true;
}

static bool
is_named(const struct tag *tag, const char *name)
{
    size_t len = strlen(name);

    return (size_t)(tag->name.end - tag->name.start) == len &&
           memcmp(tag->name.start, name, len) == 0;
}

/* A child of <target> begins. */
static void
see_child(const struct tag *tag, struct place *place)
{
    if (is_named(tag, "encryption")) {
        place->is_twice = place->existing.start != NULL;
        place->existing = tag->span;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(after_encryption); i++) {
        if (!place->before && is_named(tag, after_encryption[i]))
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
    struct tag tag;

    for (const char *at = xml; next_tag(at, &tag); at = tag.span.end) {
        if (tag.is_closing)
            depth--;
        if (depth == 1 && is_named(&tag, "target")) {
            if (tag.is_closing || tag.is_empty) {
                place->target = tag.is_empty ? tag.span : place->target;
                place->before = place->before ? place->before : tag.span.start;
                return;
            }
            in_target = true;
        } else if (depth == 2 && in_target && !tag.is_closing) {
            see_child(&tag, place);
            in_existing = is_named(&tag, "encryption") && !tag.is_empty;
        } else if (depth == 2 && in_existing) {
            place->existing.end = tag.span.end;
            in_existing = false;
        }
        if (!tag.is_closing && !tag.is_empty)
            depth++;
    }
}

/* How many spaces or tabs precede `at` in its line; -1 if something else is there. */
static int
line_indent(const char *xml, const char *at)
{
    const char *start = at;

    while (start > xml && (start[-1] == ' ' || start[-1] == '\t'))
        start--;
    return start == xml || start[-1] == '\n' ? (int)(at - start) : -1;
}

static char *
join(const char *xml, struct span replaced, const char *text)
{
    GString *result = g_string_new_len(xml, replaced.start - xml);

    g_string_append(result, text);
    g_string_append(result, replaced.end);
    return g_string_free(result, FALSE);
}

static char *
replace(const char *xml, struct span existing, const struct encryption *encryption)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int indent = line_indent(xml, existing.start);

    encryption_format(encryption, (unsigned int)MAX(indent, 0), text);
    g_string_truncate(text, text->len - 1); /* the newline after the element is there already */
    g_string_erase(text, 0, MAX(indent, 0));
    return join(xml, existing, text->str);
}

/* An element of its own line goes before the line of `before`. */
static char *
insert(const char *xml, const char *before, const struct encryption *encryption)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int indent = line_indent(xml, before);
    const char *at = before - MAX(indent, 0);

    encryption_format(encryption, 4, text);
    return join(xml, (struct span){at, at}, text->str);
}

static char *
expand_target(const char *xml, struct span target, const struct encryption *encryption)
{
    g_autoptr(GString) text = g_string_new("<target>\n");

    encryption_format(encryption, 4, text);
    g_string_append(text, "  </target>");
    return join(xml, target, text->str);
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
