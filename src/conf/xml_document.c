/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: running libxml2's parser and turning its first fatal error into ours. A document type
 * declaration stops the parser where it begins, before anything in it takes effect.
 */
#include "conf/xml_document.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <string.h>

/* At most this much of the line with the error is shown before and after the place. */
enum { SNIPPET_MAX = 1024 };

struct parse_state {
    const char *name;
    enum error_domain domain;
    bool has_doctype;
    GError *error; /* the first one */
};

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlParserCtxt, xmlFreeParserCtxt)

static bool
is_line_end(xmlChar c)
{
    return c == '\n' || c == '\r';
}

/* The line that the parser stands in, and below it a mark at its place. */
static char *
format_snippet(const xmlParserInput *input)
{
    const xmlChar *place = input->cur;
    const xmlChar *start = place;
    const xmlChar *end;
    g_autofree char *line = NULL;
    g_autofree char *marker = NULL;

    /* An error at the end of a line belongs to that line. */
    while (start > input->base && is_line_end(*start))
        start--;
    while (start > input->base && !is_line_end(start[-1]) && place - start < SNIPPET_MAX)
        start--;
    end = start;
    while (*end && !is_line_end(*end) && end - place < SNIPPET_MAX)
        end++;
    line = g_utf8_make_valid((const char *)start, end - start);
    marker = g_strnfill((gsize)(place - start), '-');
    return g_strdup_printf("%s\n%s^", line, marker);
}

static void
on_error(void *opaque, xmlError *xml_error)
{
    xmlParserCtxt *parser = opaque;
    struct parse_state *state = parser->_private;
    g_autofree char *snippet = NULL;
    g_autofree char *message = NULL;

    if (xml_error->level != XML_ERR_FATAL || state->error || !parser->input)
        return;
    message = g_utf8_make_valid(xml_error->message ? xml_error->message : "unknown error", -1);
    g_strchomp(message);
    snippet = format_snippet(parser->input);
    error_set(&state->error, state->domain, ERROR_XML_DETAIL, "%s:%d: %s\n%s", state->name,
              xml_error->line, message, snippet);
}

static void
on_doctype(void *opaque, const xmlChar *name, const xmlChar *public_id, const xmlChar *system_id)
{
    xmlParserCtxt *parser = opaque;
    struct parse_state *state = parser->_private;

    state->has_doctype = true;
    xmlStopParser(parser);
}

/* libxml2 wants its tables made before threads use it. */
static void
init_library(void)
{
    static gsize done;

    if (g_once_init_enter(&done)) {
        xmlInitParser();
        g_once_init_leave(&done, 1);
    }
}

static xmlDoc *
run_parser(struct parse_state *state, const char *xml)
{
    g_autoptr(xmlParserCtxt) parser = xmlNewParserCtxt();

    if (!parser)
        g_error("out of memory"); /* as GLib's allocator does */
    parser->_private = state;
    parser->sax->internalSubset = on_doctype;
    parser->sax->serror = on_error;
    return xmlCtxtReadDoc(parser, (const xmlChar *)xml, NULL, NULL,
                          XML_PARSE_NONET | XML_PARSE_NOWARNING | XML_PARSE_COMPACT);
}

static bool
check_root(const xmlDoc *doc, const char *root, GError **error)
{
    const xmlNode *node = xmlDocGetRootElement(doc);

    if (!node || (root && !g_str_equal((const char *)node->name, root))) {
        error_set(error, ERROR_FROM_XML, ERROR_XML, "expecting root element of '%s', not '%s'",
                  root ? root : "", node ? (const char *)node->name : "");
        return false;
    }
    return true;
}

xmlDoc *
xml_document_parse(const char *name, const char *root, const char *xml, size_t len,
                   enum error_domain domain, GError **error)
{
    struct parse_state state = {.name = name, .domain = domain};
    g_autofree char *text = NULL;
    g_autoptr(xml_document_t) doc = NULL;

    if (memchr(xml, '\0', len)) {
        error_set(error, domain, ERROR_XML, "%s holds a zero byte", name);
        return NULL;
    }
    init_library();
    text = g_strndup(xml, len);
    doc = run_parser(&state, text);
    if (state.has_doctype) {
        g_clear_error(&state.error);
        error_set(&state.error, domain, ERROR_XML,
                  "%s has a document type declaration (<!DOCTYPE ...>), which is not allowed; "
                  "remove it",
                  name);
    }
    if (!state.error && !doc)
        error_set(&state.error, domain, ERROR_XML, "failed to parse %s", name);
    if (state.error) {
        g_propagate_error(error, state.error);
        return NULL;
    }
    return check_root(doc, root, error) ? g_steal_pointer(&doc) : NULL;
}

void
xml_document_free(xmlDoc *doc)
{
    xmlFreeDoc(doc);
}

xmlNode *
xml_find_element(xmlNode *node, const char *name)
{
    while (node && (node->type != XML_ELEMENT_NODE || node->ns ||
                    !g_str_equal((const char *)node->name, name)))
        node = node->next;
    return node;
}

static char *
get_content(const xmlNode *node)
{
    const xmlNode *child = node->children;
    xmlChar *content;
    char *text;

    if (!child)
        return NULL;
    if (!child->next && child->type == XML_TEXT_NODE)
        return *child->content ? g_strdup((const char *)child->content) : NULL;
    content = xmlNodeGetContent(node);
    text = content && *content ? g_strdup((const char *)content) : NULL;
    xmlFree(content);
    return text;
}

char *
xml_get_text(const xmlNode *element)
{
    return element ? get_content(element) : NULL;
}

static const xmlAttr *
find_attribute(const xmlNode *element, const char *name)
{
    const xmlAttr *attribute = element ? element->properties : NULL;

    while (attribute && (attribute->ns || !g_str_equal((const char *)attribute->name, name)))
        attribute = attribute->next;
    return attribute;
}

char *
xml_get_attribute(const xmlNode *element, const char *name)
{
    const xmlAttr *attribute = find_attribute(element, name);

    return attribute ? get_content((const xmlNode *)attribute) : NULL;
}

bool
xml_has_attribute(const xmlNode *element, const char *name)
{
    return find_attribute(element, name) != NULL;
}
