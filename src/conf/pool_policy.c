/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading and writing a pool's policy. Reading is strict: a policy that is not understood
 * must not pass for one that is weaker.
 */
#include "conf/pool_policy.h"

#include "conf/xml_document.h"
#include "conf/xml_strict.h"
#include "conf/xml_text.h"
#include "util/error.h"

static const char *const policy_names[] = {
    [POOL_POLICY_NONE] = "none",
    [POOL_POLICY_LUKS] = "luks",
    [POOL_POLICY_DM_CRYPT] = "dm-crypt",
};
G_STATIC_ASSERT(G_N_ELEMENTS(policy_names) == POOL_POLICY_LAST);

const char *
pool_policy_name(enum pool_policy policy)
{
    return (unsigned int)policy < POOL_POLICY_LAST ? policy_names[policy] : "unknown";
}

bool
pool_policy_find(const char *name, enum pool_policy *ret_policy, GError **error)
{
    int index = xml_find_name(name, policy_names, POOL_POLICY_LAST);

    if (index < 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "unknown pool policy '%s': it can be 'none', 'luks' or 'dm-crypt'", name);
        return false;
    }
    *ret_policy = (enum pool_policy)index;
    return true;
}

/* The policy's word in <pool>; NULL with an error if anything else is there, too. */
static char *
get_word(const char *pool, const xmlNode *root, GError **error)
{
    static const char *const none[] = {NULL};
    static const char *const children[] = {"name", "encrypt", NULL};
    static const char *const attributes[] = {"policy", NULL};
    const xmlNode *encrypt = xml_find_element(root->children, "encrypt");
    g_autofree char *name = xml_get_text(xml_find_element(root->children, "name"));
    g_autofree char *word = xml_get_attribute(encrypt, "policy");

    if (!xml_check_attributes(root, none, error) || !xml_check_children(root, children, error) ||
        (encrypt && (!xml_check_attributes(encrypt, attributes, error) ||
                     !xml_check_children(encrypt, none, error))))
        return NULL;
    if (!word || g_strcmp0(name, pool) != 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "this is no policy of pool '%s': <name> or <encrypt policy=''> is missing or "
                  "another's",
                  pool);
        return NULL;
    }
    return g_steal_pointer(&word);
}

bool
pool_policy_parse(const char *pool, const char *xml, size_t len, enum pool_policy *ret_policy,
                  GError **error)
{
    g_autoptr(xml_document_t) doc = NULL;
    g_autofree char *word = NULL;

    if (len > POOL_POLICY_XML_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "the policy of pool '%s' has %zu bytes, which is more than %d", pool, len,
                  POOL_POLICY_XML_MAX);
        return false;
    }
    doc = xml_document_parse("(pool_policy)", "pool", xml, len, ERROR_FROM_STORAGE, error);
    if (!doc)
        return false;
    word = get_word(pool, xmlDocGetRootElement(doc), error);
    return word && pool_policy_find(word, ret_policy, error);
}

char *
pool_policy_format(const char *pool, enum pool_policy policy)
{
    GString *text = g_string_new("<pool>\n");

    xml_append_element(text, 2, "name", pool);
    g_string_append_printf(text, "  <encrypt policy='%s'/>\n</pool>\n", pool_policy_name(policy));
    return g_string_free(text, FALSE);
}
