/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: xpath.h.
 */
#include "tools/xpath.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

#include "util/error.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlXPathContext, xmlXPathFreeContext)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlXPathObject, xmlXPathFreeObject)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlBuffer, xmlBufferFree)

/* libxml2 prints errors of XPath, in two ways, unless it is told where else they go. */
static void
keep_quiet(void *opaque G_GNUC_UNUSED, xmlErrorPtr error G_GNUC_UNUSED)
{
}

static void G_GNUC_PRINTF(2, 3)
    keep_quiet_too(void *opaque G_GNUC_UNUSED, const char *format G_GNUC_UNUSED, ...)
{
}

static void
append_node(GString *text, xmlDoc *document, xmlNode *node)
{
    g_autoptr(xmlBuffer) buffer = xmlBufferCreate();

    if (xmlNodeDump(buffer, document, node, 0, 1) >= 0)
        g_string_append(text, (const char *)xmlBufferContent(buffer));
    g_string_append_c(text, '\n');
}

static char *
format_nodes(xmlDoc *document, const xmlNodeSet *nodes, bool wrap)
{
    g_autoptr(GString) text = g_string_new(NULL);
    xmlNode *wrapper = wrap ? xmlNewNode(NULL, BAD_CAST "nodes") : NULL;

    for (int i = 0; nodes && i < nodes->nodeNr; i++) {
        if (wrapper)
            xmlAddChild(wrapper, xmlCopyNode(nodes->nodeTab[i], 1));
        else
            append_node(text, document, nodes->nodeTab[i]);
    }
    if (wrapper) {
        append_node(text, document, wrapper);
        xmlFreeNode(wrapper);
    }
    return g_strdup(text->str);
}

char *
xpath_pick(const char *xml, const char *expression, bool wrap, GError **error)
{
    g_autoptr(xmlDoc) document =
        xmlReadMemory(xml, (int)strlen(xml), "server.xml", NULL,
                      XML_PARSE_NONET | XML_PARSE_NOBLANKS | XML_PARSE_NOERROR);
    g_autoptr(xmlXPathContext) context = document ? xmlXPathNewContext(document) : NULL;
    g_autoptr(xmlXPathObject) result = NULL;

    if (!context) {
        error_set(error, ERROR_FROM_XML, ERROR_XML_DETAIL, "the server sent XML that is malformed");
        return NULL;
    }
    context->error = keep_quiet;
    xmlSetGenericErrorFunc(NULL, keep_quiet_too);
    result = xmlXPathEval(BAD_CAST expression, context);
    if (!result || result->type != XPATH_NODESET) {
        error_set(error, ERROR_FROM_XML, ERROR_INTERNAL, "Incorrect xpath '%s'", expression);
        return NULL;
    }
    return format_nodes(document, result->nodesetval, wrap);
}

char *
xpath_get_text(const char *xml, const char *expression)
{
    g_autoptr(xmlDoc) document =
        xmlReadMemory(xml, (int)strlen(xml), "server.xml", NULL,
                      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    g_autoptr(xmlXPathContext) context = document ? xmlXPathNewContext(document) : NULL;
    g_autoptr(xmlXPathObject) result = context ? xmlXPathEval(BAD_CAST expression, context) : NULL;
    bool has_text = result && result->type == XPATH_STRING && *result->stringval;

    return has_text ? g_strdup((const char *)result->stringval) : NULL;
}
