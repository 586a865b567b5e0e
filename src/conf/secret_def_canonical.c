/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the quick way to read a definition that we or libvirt wrote, which is nearly every file in
 * the folder of secrets at start. It takes the canonical text and nothing else; whatever differs in
 * one byte is left to the XML parser, so this adds no second idea of what a definition is (a test
 * compares both).
 */
#include "conf/secret_def_xml.h"

#include <string.h>

struct cursor {
    const char *next;
    const char *end;
};

static const struct {
    const char *reference;
    char c;
} references[] = {
    {"&lt;", '<'},   {"&gt;", '>'},    {"&amp;", '&'},
    {"&quot;", '"'}, {"&apos;", '\''}, {"&#13;", '\r'},
};

static bool
skip(struct cursor *at, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(at->end - at->next) < len || memcmp(at->next, text, len) != 0)
        return false;
    at->next += len;
    return true;
}

static bool
read_yes_no(struct cursor *at, bool *ret_value)
{
    *ret_value = skip(at, "'yes'");
    return *ret_value || skip(at, "'no'");
}

static bool
read_uuid(struct cursor *at, struct uuid *ret_uuid)
{
    char text[UUID_TEXT_SIZE];
    char again[UUID_TEXT_SIZE];

    if ((size_t)(at->end - at->next) < UUID_TEXT_SIZE)
        return false;
    memcpy(text, at->next, UUID_TEXT_SIZE - 1);
    text[UUID_TEXT_SIZE - 1] = '\0';
    at->next += UUID_TEXT_SIZE - 1;
    return uuid_parse(text, ret_uuid) && g_str_equal(uuid_format(ret_uuid, again), text);
}

/* UTF-8 as XML has it: U+FFFE and U+FFFF are no characters there. */
static bool
is_xml_text(const char *text, size_t len)
{
    bool ascii = true;

    for (size_t i = 0; ascii && i < len; i++)
        ascii = (unsigned char)text[i] < 0x80;
    return ascii ||
           (g_utf8_validate_len(text, len, NULL) && !memmem(text, len, "\xef\xbf\xbe", 3) &&
            !memmem(text, len, "\xef\xbf\xbf", 3));
}

static bool
read_reference(struct cursor *at, char *ret_c)
{
    for (size_t i = 0; i < G_N_ELEMENTS(references); i++) {
        if (skip(at, references[i].reference)) {
            *ret_c = references[i].c;
            return true;
        }
    }
    return false;
}

/* The text up to the next '<'; NULL if it is empty or not in canonical form. */
static char *
read_text(struct cursor *at)
{
    const char *stop = memchr(at->next, '<', (size_t)(at->end - at->next));
    g_autofree char *text = NULL;
    size_t len = 0;

    if (!stop || stop == at->next || !is_xml_text(at->next, (size_t)(stop - at->next)))
        return NULL;
    text = g_malloc((size_t)(stop - at->next) + 1);
    while (at->next < stop) {
        char c = *at->next;

        if (c == '&') {
            if (!read_reference(at, &text[len++]))
                return NULL;
            continue;
        }
        if (((unsigned char)c < 0x20 && c != '\t' && c != '\n') || strchr(">\"'", c))
            return NULL;
        text[len++] = c;
        at->next++;
    }
    text[len] = '\0';
    return g_steal_pointer(&text);
}

static bool
read_usage(struct cursor *at, struct secret_def *def)
{
    for (int type = SECRET_USAGE_VOLUME; type < SECRET_USAGE_LAST; type++) {
        const char *element = secret_def_usage_element((enum secret_usage_type)type);

        if (!skip(at, secret_usage_type_name((enum secret_usage_type)type)))
            continue;
        def->usage_type = (enum secret_usage_type)type;
        if (!skip(at, "'>\n    <") || !skip(at, element) || !skip(at, ">"))
            return false;
        def->usage_id = read_text(at);
        return def->usage_id && skip(at, "</") && skip(at, element) && skip(at, ">\n  </usage>\n");
    }
    return false;
}

struct secret_def *
secret_def_parse_canonical(const char *xml, size_t len)
{
    struct cursor at = {.next = xml, .end = xml + len};
    g_autoptr(secret_def_t) def = g_new0(struct secret_def, 1);

    if (!skip(&at, "<secret ephemeral=") || !read_yes_no(&at, &def->is_ephemeral) ||
        !skip(&at, " private=") || !read_yes_no(&at, &def->is_private) ||
        !skip(&at, ">\n  <uuid>") || !read_uuid(&at, &def->uuid) || !skip(&at, "</uuid>\n"))
        return NULL;
    if (skip(&at, "  <description>")) {
        def->description = read_text(&at);
        if (!def->description || !skip(&at, "</description>\n"))
            return NULL;
    }
    if (skip(&at, "  <usage type='") && !read_usage(&at, def))
        return NULL;
    if (!skip(&at, "</secret>\n") || at.next != at.end)
        return NULL;
    return g_steal_pointer(&def);
}
