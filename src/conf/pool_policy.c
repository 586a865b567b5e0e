/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: pool_policy.h.
 */
#include "conf/pool_policy.h"

#include <string.h>

#include "conf/xml_document.h"
#include "util/error.h"

static const char *const policy_names[] = { "none", "luks", "dm-crypt" };
G_STATIC_ASSERT(G_N_ELEMENTS(policy_names) == POOL_POLICY_LAST);

const char *
pool_policy_name(enum pool_policy policy)
{
    return policy_names[policy];
}

bool
pool_policy_find(const char *name, enum pool_policy *ret_policy, GError **error)
{
    for (unsigned int i = 0; i < POOL_POLICY_LAST; i++) {
        if (strcmp(name, policy_names[i]) == 0) {
            *ret_policy = i;
            return true;
        }
    }
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "unknown pool policy '%s': it can be 'none', 'luks' or 'dm-crypt'", name);
    return false;
}

bool
pool_policy_parse(const char *pool, const char *xml, size_t len, enum pool_policy *ret_policy,
                  GError **error)
{
    g_autoptr(xml_document_t) doc =
        xml_document_parse("(pool policy)", "pool", xml, len, ERROR_FROM_STORAGE, error);
    g_autofree char *name = NULL;
    g_autofree char *policy = NULL;
    xmlNode *children;

    if (!doc)
        return false;
    children = xmlDocGetRootElement(doc)->children;
    name = xml_get_text(xml_find_element(children, "name"));
    policy = xml_get_attribute(xml_find_element(children, "encrypt"), "policy");
    if (!name || strcmp(name, pool) != 0 || !policy) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "this is no policy of pool '%s': <name> or <encrypt policy=''> is missing or "
                  "another's",
                  pool);
        return false;
    }
    return pool_policy_find(policy, ret_policy, error);
}

char *
pool_policy_format(const char *pool, enum pool_policy policy)
{
    return g_markup_printf_escaped("<pool>\n"
                                   "  <name>%s</name>\n"
                                   "  <encrypt policy='%s'/>\n"
                                   "</pool>\n",
                                   pool, pool_policy_name(policy));
}
