/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see xml_scan.h.
 */
#include "conf/xml_scan.h"

#include <string.h>

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

bool
xml_scan_next(const char *at, struct xml_tag *ret_tag)
{
    struct xml_tag tag = {0};
    const char *skipped;

    while ((at = strchr(at, '<')) && (skipped = skip_markup(at)))
        at = skipped;
    if (!at)
        return false;
    tag.span = (struct xml_span){at, find_tag_end(at)};
    if (!tag.span.end)
        return false;
    tag.is_closing = at[1] == '/';
    tag.is_empty = tag.span.end[-2] == '/';
    tag.name.start = at + (tag.is_closing ? 2 : 1);
    tag.name.end = tag.name.start + strcspn(tag.name.start, " \t\r\n/>");
    *ret_tag = tag;
    return true;
}

bool
xml_scan_is(const struct xml_tag *tag, const char *name)
{
    size_t len = strlen(name);

    return (size_t)(tag->name.end - tag->name.start) == len &&
           memcmp(tag->name.start, name, len) == 0;
}

int
xml_scan_indent(const char *xml, const char *at)
{
    const char *start = at;

    while (start > xml && (start[-1] == ' ' || start[-1] == '\t'))
        start--;
    return start == xml || start[-1] == '\n' ? (int)(at - start) : -1;
}

char *
xml_scan_replace(const char *xml, struct xml_span replaced, const char *text)
{
    GString *result = g_string_new_len(xml, replaced.start - xml);

    g_string_append(result, text);
    g_string_append(result, replaced.end);
    return g_string_free(result, FALSE);
}
