/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading a pool's XML as far as virtcryptd needs it; all else is not looked at.
 */
#include "conf/pool_def.h"

#include <string.h>

#include "conf/volume_def.h"
#include "conf/xml_document.h"
#include "util/error.h"

static const struct {
    const char *name;
    enum pool_type type;
} types[] = {
    {"dir", POOL_TYPE_DIR},
    {"fs", POOL_TYPE_DIR},
    {"netfs", POOL_TYPE_DIR},
    {"logical", POOL_TYPE_LOGICAL},
};

static bool
refuse(GError **error, const char *text)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "%s", text);
    return false;
}

static enum pool_type
find_type(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_str_equal(types[i].name, name))
            return types[i].type;
    }
    return POOL_TYPE_OTHER;
}

static char *
get_child_text(const xmlNode *parent, const char *name)
{
    return parent ? xml_get_text(xml_find_element(parent->children, name)) : NULL;
}

static char *
get_path(const xmlNode *target)
{
    char *path = get_child_text(target, "path");
    size_t len = path ? strlen(path) : 0;

    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    return path;
}

static bool
parse_names(const xmlNode *pool, struct pool_def *def, GError **error)
{
    g_autofree char *uuid = get_child_text(pool, "uuid");

    def->type_name = xml_get_attribute(pool, "type");
    def->name = get_child_text(pool, "name");
    if (!def->type_name)
        return refuse(error, "missing type of the storage pool: <pool> has no attribute 'type'");
    if (!def->name)
        return refuse(error, "missing pool name element");
    if (!volume_def_check_name("pool", def->name, error))
        return false;
    if (!uuid || !uuid_parse(uuid, &def->uuid))
        return refuse(error, uuid ? "malformed uuid element" : "missing pool uuid element");
    return true;
}

static struct pool_def *
parse_pool(const xmlNode *pool, GError **error)
{
    g_autoptr(pool_def_t) def = g_new0(struct pool_def, 1);

    if (!parse_names(pool, def, error))
        return NULL;
    def->type = find_type(def->type_name);
    def->target_path = get_path(xml_find_element(pool->children, "target"));
    if (def->type == POOL_TYPE_LOGICAL) {
        def->source_name = get_child_text(xml_find_element(pool->children, "source"), "name");
        if (!def->source_name) /* the same name, libvirt says */
            def->source_name = g_strdup(def->name);
    }
    return g_steal_pointer(&def);
}

struct pool_def *
pool_def_parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(xml_document_t) doc = NULL;
    xmlNode *pool;

    if (len > POOL_DEF_XML_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "the definition of the pool has %zu bytes; shorten it to at most %d", len,
                  POOL_DEF_XML_MAX);
        return NULL;
    }
    doc =
        xml_document_parse("(storage_pool_definition)", NULL, xml, len, ERROR_FROM_STORAGE, error);
    if (!doc)
        return NULL;
    pool = xmlDocGetRootElement(doc);
    if (g_str_equal((const char *)pool->name, "poolstate"))
        pool = xml_find_element(pool->children, "pool");
    if (!pool || !g_str_equal((const char *)pool->name, "pool")) {
        refuse(error, "expecting an element 'pool', alone or in 'poolstate'");
        return NULL;
    }
    return parse_pool(pool, error);
}

struct pool_def *
pool_def_copy(const struct pool_def *def)
{
    struct pool_def *copy = g_new(struct pool_def, 1);

    *copy = *def;
    copy->name = g_strdup(def->name);
    copy->type_name = g_strdup(def->type_name);
    copy->source_name = g_strdup(def->source_name);
    copy->target_path = g_strdup(def->target_path);
    return copy;
}

void
pool_def_free(struct pool_def *def)
{
    if (!def)
        return;
    g_free(def->name);
    g_free(def->type_name);
    g_free(def->source_name);
    g_free(def->target_path);
    g_free(def);
}
