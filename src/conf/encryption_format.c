/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: writing <encryption>, as libvirt does; what is ours comes last.
 */
#include "conf/encryption_xml.h"

#include "conf/encryption_dmcrypt.h"
#include "conf/xml_text.h"

#define FIELD(name) G_STRUCT_OFFSET(struct encryption_dmcrypt, name)

const struct encryption_dmcrypt_flag encryption_dmcrypt_flags[ENCRYPTION_DMCRYPT_FLAG_COUNT] = {
    {"discard", FIELD(discard)},
    {"no_read_workqueue", FIELD(no_read_workqueue)},
    {"no_write_workqueue", FIELD(no_write_workqueue)},
    {"same_cpu_crypt", FIELD(same_cpu_crypt)},
    {"submit_from_crypt_cpus", FIELD(submit_from_crypt_cpus)},
};

static void
format_secret(const struct encryption *encryption, unsigned int indent, GString *text)
{
    char uuid[UUID_TEXT_SIZE];

    if (encryption->secret_by == ENCRYPTION_SECRET_NONE)
        return;
    xml_append_indent(text, indent);
    g_string_append(text, "<secret type='passphrase'");
    if (encryption->secret_by == ENCRYPTION_SECRET_UUID)
        xml_append_attribute(text, "uuid", uuid_format(&encryption->secret_uuid, uuid));
    else
        xml_append_attribute(text, "usage", encryption->secret_usage);
    g_string_append(text, "/>\n");
}

static void
format_cipher(const struct encryption *encryption, unsigned int indent, GString *text)
{
    if (!encryption->cipher_name)
        return;
    xml_append_indent(text, indent);
    g_string_append(text, "<cipher");
    xml_append_attribute(text, "name", encryption->cipher_name);
    g_string_append_printf(text, " size='%u'", encryption->cipher_size);
    xml_append_attribute(text, "mode", encryption->cipher_mode);
    xml_append_attribute(text, "hash", encryption->cipher_hash);
    g_string_append(text, "/>\n");
    if (!encryption->ivgen_name)
        return;
    xml_append_indent(text, indent);
    g_string_append(text, "<ivgen");
    xml_append_attribute(text, "name", encryption->ivgen_name);
    xml_append_attribute(text, "hash", encryption->ivgen_hash);
    g_string_append(text, "/>\n");
}

static void
format_dmcrypt_attributes(const struct encryption_dmcrypt *dmcrypt, GString *text)
{
    if (dmcrypt->sector_size > 0)
        g_string_append_printf(text, " sector_size='%u'", dmcrypt->sector_size);
    for (size_t i = 0; i < ENCRYPTION_DMCRYPT_FLAG_COUNT; i++) {
        const struct encryption_dmcrypt_flag *flag = &encryption_dmcrypt_flags[i];

        if (*(const bool *)((const char *)dmcrypt + flag->offset))
            xml_append_attribute(text, flag->name, "yes");
    }
}

static void
format_dmcrypt(const struct encryption_dmcrypt *dmcrypt, unsigned int indent, GString *text)
{
    g_autoptr(GString) attributes = g_string_new(NULL);
    bool has_children = dmcrypt->integrity != ENCRYPTION_INTEGRITY_NONE || dmcrypt->header_path;

    format_dmcrypt_attributes(dmcrypt, attributes);
    if (attributes->len == 0 && !has_children)
        return;
    xml_append_indent(text, indent);
    g_string_append_printf(text, "<dmcrypt%s%s>\n", attributes->str, has_children ? "" : "/");
    if (!has_children)
        return;
    if (dmcrypt->integrity != ENCRYPTION_INTEGRITY_NONE) {
        xml_append_indent(text, indent + 2);
        g_string_append_printf(text, "<integrity mode='%s'/>\n",
                               encryption_integrity_name(dmcrypt->integrity));
    }
    if (dmcrypt->header_path) {
        xml_append_indent(text, indent + 2);
        g_string_append(text, "<header");
        xml_append_attribute(text, "path", dmcrypt->header_path);
        g_string_append(text, "/>\n");
    }
    xml_append_indent(text, indent);
    g_string_append(text, "</dmcrypt>\n");
}

void
encryption_format(const struct encryption *encryption, unsigned int indent, GString *text)
{
    xml_append_indent(text, indent);
    g_string_append_printf(text, "<encryption format='%s'",
                           encryption_format_name(encryption->format));
    if (encryption->engine != ENCRYPTION_ENGINE_DEFAULT)
        xml_append_attribute(text, "engine", encryption_engine_name(encryption->engine));
    g_string_append(text, ">\n");
    format_secret(encryption, indent + 2, text);
    format_cipher(encryption, indent + 2, text);
    format_dmcrypt(&encryption->dmcrypt, indent + 2, text);
    xml_append_indent(text, indent);
    g_string_append(text, "</encryption>\n");
}
