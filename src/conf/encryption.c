/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the life of struct encryption, and its words. Reading is in encryption_parse.c, writing in
 * encryption_format.c, and what fits together in encryption_validate.c.
 */
#include "conf/encryption.h"

static const char *const engine_names[] = {
    [ENCRYPTION_ENGINE_DEFAULT] = "default",
    [ENCRYPTION_ENGINE_QEMU] = "qemu",
    [ENCRYPTION_ENGINE_LIBRBD] = "librbd",
    [ENCRYPTION_ENGINE_DM_CRYPT] = "dm-crypt",
};
G_STATIC_ASSERT(G_N_ELEMENTS(engine_names) == ENCRYPTION_ENGINE_LAST);

static const char *const format_names[] = {
    [ENCRYPTION_FORMAT_DEFAULT] = "default",   [ENCRYPTION_FORMAT_QCOW] = "qcow",
    [ENCRYPTION_FORMAT_LUKS] = "luks",         [ENCRYPTION_FORMAT_LUKS2] = "luks2",
    [ENCRYPTION_FORMAT_LUKS_ANY] = "luks-any", [ENCRYPTION_FORMAT_PLAIN] = "plain",
};
G_STATIC_ASSERT(G_N_ELEMENTS(format_names) == ENCRYPTION_FORMAT_LAST);

static const char *const integrity_names[] = {
    [ENCRYPTION_INTEGRITY_NONE] = "none",
    [ENCRYPTION_INTEGRITY_AEAD] = "aead",
    [ENCRYPTION_INTEGRITY_HMAC] = "hmac",
};
G_STATIC_ASSERT(G_N_ELEMENTS(integrity_names) == ENCRYPTION_INTEGRITY_LAST);

const char *
encryption_engine_name(enum encryption_engine engine)
{
    return (unsigned int)engine < ENCRYPTION_ENGINE_LAST ? engine_names[engine] : "unknown";
}

const char *
encryption_format_name(enum encryption_format format)
{
    return (unsigned int)format < ENCRYPTION_FORMAT_LAST ? format_names[format] : "unknown";
}

const char *
encryption_integrity_name(enum encryption_integrity integrity)
{
    return (unsigned int)integrity < ENCRYPTION_INTEGRITY_LAST ? integrity_names[integrity]
                                                               : "unknown";
}

bool
encryption_is_dm_crypt(const struct encryption *encryption)
{
    return encryption && encryption->engine == ENCRYPTION_ENGINE_DM_CRYPT;
}

struct encryption *
encryption_copy(const struct encryption *encryption)
{
    struct encryption *copy;

    if (!encryption)
        return NULL;
    copy = g_new(struct encryption, 1);
    *copy = *encryption;
    copy->secret_usage = g_strdup(encryption->secret_usage);
    copy->cipher_name = g_strdup(encryption->cipher_name);
    copy->cipher_mode = g_strdup(encryption->cipher_mode);
    copy->cipher_hash = g_strdup(encryption->cipher_hash);
    copy->ivgen_name = g_strdup(encryption->ivgen_name);
    copy->ivgen_hash = g_strdup(encryption->ivgen_hash);
    copy->dmcrypt.header_path = g_strdup(encryption->dmcrypt.header_path);
    return copy;
}

void
encryption_free(struct encryption *encryption)
{
    if (!encryption)
        return;
    g_free(encryption->secret_usage);
    g_free(encryption->cipher_name);
    g_free(encryption->cipher_mode);
    g_free(encryption->cipher_hash);
    g_free(encryption->ivgen_name);
    g_free(encryption->ivgen_hash);
    g_free(encryption->dmcrypt.header_path);
    g_free(encryption);
}
