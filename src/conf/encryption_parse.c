/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading <encryption>. Every attribute and element is known or an error.
 */
#include <stdint.h>

#include "conf/encryption_dmcrypt.h"
#include "conf/encryption_xml.h"
#include "conf/xml_document.h"
#include "conf/xml_strict.h"
#include "util/error.h"

static bool refuse(GError **error, enum error_code code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static bool
refuse(GError **error, enum error_code code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    error_set(error, ERROR_FROM_STORAGE, code, "%s", text);
    return false;
}

static bool
parse_engine(const xmlNode *node, enum encryption_engine *ret_engine, GError **error)
{
    g_autofree char *text = xml_get_attribute(node, "engine");

    if (!xml_has_attribute(node, "engine"))
        return true;
    for (int engine = ENCRYPTION_ENGINE_QEMU; engine < ENCRYPTION_ENGINE_LAST; engine++) {
        if (g_strcmp0(text, encryption_engine_name((enum encryption_engine)engine)) == 0) {
            *ret_engine = (enum encryption_engine)engine;
            return true;
        }
    }
    return refuse(error, ERROR_XML,
                  "Invalid value for attribute 'engine' in element 'encryption': '%s'; it is "
                  "'qemu', 'librbd' or 'dm-crypt'",
                  text ? text : "");
}

/* For dm-crypt no format means the newest, and so does libvirt's word "default". */
static bool
parse_format(const xmlNode *node, struct encryption *encryption, GError **error)
{
    g_autofree char *text = xml_get_attribute(node, "format");
    bool is_dm_crypt = encryption_is_dm_crypt(encryption);
    int format = ENCRYPTION_FORMAT_DEFAULT;

    if (!text && (!is_dm_crypt || xml_has_attribute(node, "format")))
        return refuse(error, ERROR_XML,
                      "unknown volume encryption format: name one, as in format='luks'");
    while (text && format < ENCRYPTION_FORMAT_LAST &&
           !g_str_equal(text, encryption_format_name((enum encryption_format)format)))
        format++;
    if (format == ENCRYPTION_FORMAT_LAST)
        return refuse(error, ERROR_CONFIG_UNSUPPORTED,
                      "unknown volume encryption format type %s; it is 'default', 'qcow', 'luks', "
                      "'luks2', 'luks-any', or with engine='dm-crypt' 'plain'",
                      text);
    if (is_dm_crypt && format == ENCRYPTION_FORMAT_DEFAULT)
        format = ENCRYPTION_FORMAT_LUKS2;
    encryption->format = (enum encryption_format)format;
    return true;
}

static bool
parse_secret_name(const xmlNode *secret, struct encryption *encryption, GError **error)
{
    g_autofree char *uuid = xml_get_attribute(secret, "uuid");
    bool by_uuid = xml_has_attribute(secret, "uuid");
    bool by_usage = xml_has_attribute(secret, "usage");

    if (by_uuid && by_usage)
        return refuse(error, ERROR_XML, "either secret uuid or usage expected");
    if (!by_uuid && !by_usage)
        return refuse(error, ERROR_XML, "missing secret uuid or usage attribute");
    if (by_uuid) {
        if (!uuid || !uuid_parse(uuid, &encryption->secret_uuid))
            return refuse(error, ERROR_XML, "invalid secret uuid '%s'", uuid ? uuid : "");
        encryption->secret_by = ENCRYPTION_SECRET_UUID;
        return true;
    }
    encryption->secret_usage = xml_get_attribute(secret, "usage");
    if (!encryption->secret_usage)
        return refuse(error, ERROR_XML, "the usage of the secret is empty; no secret has that");
    encryption->secret_by = ENCRYPTION_SECRET_USAGE;
    return true;
}

static bool
parse_secret(const xmlNode *secret, struct encryption *encryption, GError **error)
{
    static const char *const attributes[] = {"type", "uuid", "usage", NULL};
    static const char *const children[] = {NULL};
    g_autofree char *type = NULL;

    if (!secret)
        return true;
    if (!xml_check_attributes(secret, attributes, error) ||
        !xml_check_children(secret, children, error))
        return false;
    type = xml_get_attribute(secret, "type");
    if (!type)
        return refuse(error, ERROR_XML,
                      "unknown volume encryption secret type: write type='passphrase'");
    if (!g_str_equal(type, "passphrase"))
        return refuse(error, ERROR_CONFIG_UNSUPPORTED,
                      "unknown volume encryption secret type %s; it is 'passphrase'", type);
    return parse_secret_name(secret, encryption, error);
}

static bool
parse_cipher(const xmlNode *cipher, struct encryption *encryption, GError **error)
{
    static const char *const attributes[] = {"name", "size", "mode", "hash", NULL};
    static const char *const children[] = {NULL};
    g_autofree char *size = NULL;
    uint64_t bits;

    if (!cipher)
        return true;
    if (!xml_check_attributes(cipher, attributes, error) ||
        !xml_check_children(cipher, children, error))
        return false;
    encryption->cipher_name = xml_get_attribute(cipher, "name");
    if (!encryption->cipher_name)
        return refuse(error, ERROR_XML, "cipher info missing 'name' attribute");
    size = xml_get_attribute(cipher, "size");
    if (!size)
        return refuse(error, ERROR_XML, "Missing required attribute 'size' in element 'cipher'");
    if (!xml_parse_number(size, UINT32_MAX, &bits))
        return refuse(error, ERROR_XML,
                      "Invalid value for attribute 'size' in element 'cipher': '%s'. Expected "
                      "non-negative integer value",
                      size);
    encryption->cipher_size = (unsigned int)bits;
    encryption->cipher_mode = xml_get_attribute(cipher, "mode");
    encryption->cipher_hash = xml_get_attribute(cipher, "hash");
    return true;
}

static bool
parse_ivgen(const xmlNode *ivgen, struct encryption *encryption, GError **error)
{
    static const char *const attributes[] = {"name", "hash", NULL};
    static const char *const children[] = {NULL};

    if (!ivgen)
        return true;
    if (!xml_check_attributes(ivgen, attributes, error) ||
        !xml_check_children(ivgen, children, error))
        return false;
    encryption->ivgen_name = xml_get_attribute(ivgen, "name");
    encryption->ivgen_hash = xml_get_attribute(ivgen, "hash");
    if (!encryption->ivgen_name)
        return refuse(error, ERROR_XML, "missing ivgen info name string");
    return true;
}

static bool
parse_flags(const xmlNode *node, struct encryption_dmcrypt *dmcrypt, GError **error)
{
    for (size_t i = 0; i < ENCRYPTION_DMCRYPT_FLAG_COUNT; i++) {
        const struct encryption_dmcrypt_flag *flag = &encryption_dmcrypt_flags[i];
        g_autofree char *text = xml_get_attribute(node, flag->name);
        bool is_yes = g_strcmp0(text, "yes") == 0;

        if (xml_has_attribute(node, flag->name) && !is_yes && g_strcmp0(text, "no") != 0)
            return refuse(error, ERROR_XML,
                          "Invalid value for attribute '%s' in element 'dmcrypt': '%s'; it is "
                          "'yes' or 'no'",
                          flag->name, text ? text : "");
        *(bool *)((char *)dmcrypt + flag->offset) = is_yes;
    }
    return true;
}

static bool
parse_sector_size(const xmlNode *node, unsigned int *ret_size, GError **error)
{
    static const char *const sizes[] = {"512", "1024", "2048", "4096"};
    g_autofree char *text = xml_get_attribute(node, "sector_size");
    int index = text ? xml_find_name(text, sizes, G_N_ELEMENTS(sizes)) : -1;

    if (!xml_has_attribute(node, "sector_size"))
        return true;
    if (index < 0)
        return refuse(error, ERROR_XML,
                      "Invalid value for attribute 'sector_size' in element 'dmcrypt': '%s'; it is "
                      "512, 1024, 2048 or 4096",
                      text ? text : "");
    *ret_size = 512U << index;
    return true;
}

static bool
parse_integrity(const xmlNode *node, enum encryption_integrity *ret_integrity, GError **error)
{
    static const char *const attributes[] = {"mode", NULL};
    static const char *const children[] = {NULL};
    g_autofree char *mode = NULL;

    if (!node)
        return true;
    if (!xml_check_attributes(node, attributes, error) ||
        !xml_check_children(node, children, error))
        return false;
    mode = xml_get_attribute(node, "mode");
    for (int i = ENCRYPTION_INTEGRITY_AEAD; i < ENCRYPTION_INTEGRITY_LAST; i++) {
        if (g_strcmp0(mode, encryption_integrity_name((enum encryption_integrity)i)) == 0) {
            *ret_integrity = (enum encryption_integrity)i;
            return true;
        }
    }
    return refuse(
        error, ERROR_XML,
        "Invalid value for attribute 'mode' in element 'integrity': '%s'; it is 'aead' or "
        "'hmac'",
        mode ? mode : "");
}

static bool
parse_header(const xmlNode *node, char **ret_path, GError **error)
{
    static const char *const attributes[] = {"path", NULL};
    static const char *const children[] = {NULL};
    g_autofree char *path = NULL;

    if (!node)
        return true;
    if (!xml_check_attributes(node, attributes, error) ||
        !xml_check_children(node, children, error))
        return false;
    path = xml_get_attribute(node, "path");
    if (!path)
        return refuse(error, ERROR_XML, "Missing required attribute 'path' in element 'header'");
    *ret_path = g_steal_pointer(&path);
    return true;
}

static bool
parse_dmcrypt(const xmlNode *node, struct encryption *encryption, GError **error)
{
    static const char *const attributes[] = {
        "sector_size",
        "discard",
        "no_read_workqueue",
        "no_write_workqueue",
        "same_cpu_crypt",
        "submit_from_crypt_cpus",
        NULL,
    };
    static const char *const children[] = {"integrity", "header", NULL};
    struct encryption_dmcrypt *dmcrypt = &encryption->dmcrypt;

    if (!node)
        return true;
    if (!encryption_is_dm_crypt(encryption))
        return refuse(error, ERROR_CONFIG_UNSUPPORTED,
                      "<dmcrypt> is for engine='dm-crypt' alone; name that engine, or remove "
                      "<dmcrypt>");
    return xml_check_attributes(node, attributes, error) &&
           xml_check_children(node, children, error) &&
           parse_sector_size(node, &dmcrypt->sector_size, error) &&
           parse_flags(node, dmcrypt, error) &&
           parse_integrity(xml_find_element(node->children, "integrity"), &dmcrypt->integrity,
                           error) &&
           parse_header(xml_find_element(node->children, "header"), &dmcrypt->header_path, error);
}

struct encryption *
encryption_parse(xmlNodePtr node, GError **error)
{
    static const char *const attributes[] = {"format", "engine", NULL};
    static const char *const children[] = {"secret", "cipher", "ivgen", "dmcrypt", NULL};
    g_autoptr(encryption_t) encryption = g_new0(struct encryption, 1);
    xmlNode *inside = node->children;

    if (!xml_check_attributes(node, attributes, error) ||
        !xml_check_children(node, children, error) ||
        !parse_engine(node, &encryption->engine, error) || !parse_format(node, encryption, error) ||
        !parse_secret(xml_find_element(inside, "secret"), encryption, error) ||
        !parse_cipher(xml_find_element(inside, "cipher"), encryption, error) ||
        !parse_ivgen(xml_find_element(inside, "ivgen"), encryption, error) ||
        !parse_dmcrypt(xml_find_element(inside, "dmcrypt"), encryption, error) ||
        !encryption_validate(encryption, error))
        return NULL;
    return g_steal_pointer(&encryption);
}
