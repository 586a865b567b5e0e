/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which settings of an encryption go together. Whether this host, its libcryptsetup and its
 * QEMU can do it is not known here.
 */
#include "conf/encryption.h"

#include "conf/xml_text.h"
#include "util/error.h"

static bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool
refuse(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED, "%s", text);
    return false;
}

static bool
has_dmcrypt_options(const struct encryption_dmcrypt *dmcrypt)
{
    return dmcrypt->sector_size > 0 || dmcrypt->discard || dmcrypt->no_read_workqueue ||
           dmcrypt->no_write_workqueue || dmcrypt->same_cpu_crypt ||
           dmcrypt->submit_from_crypt_cpus || dmcrypt->integrity != ENCRYPTION_INTEGRITY_NONE ||
           dmcrypt->header_path;
}

/* libvirt overlooks a cipher in any other format than luks. */
static bool
check_other_engine(const struct encryption *encryption, GError **error)
{
    const char *format = encryption_format_name(encryption->format);

    if (encryption->format == ENCRYPTION_FORMAT_PLAIN)
        return refuse(error, "encryption format 'plain' is for engine='dm-crypt' alone; name that "
                             "engine, or use format 'luks'");
    if (has_dmcrypt_options(&encryption->dmcrypt))
        return refuse(error,
                      "<dmcrypt> is for engine='dm-crypt' alone; name that engine, or remove "
                      "<dmcrypt>");
    if (encryption->cipher_name && encryption->format != ENCRYPTION_FORMAT_LUKS)
        return refuse(error,
                      "encryption format '%s' has no choice of <cipher>; remove it, or use format "
                      "'luks'",
                      format);
    return true;
}

static bool
check_integrity(const struct encryption *encryption, GError **error)
{
    const struct encryption_dmcrypt *dmcrypt = &encryption->dmcrypt;
    const char *integrity = encryption_integrity_name(dmcrypt->integrity);
    bool is_aead = dmcrypt->integrity == ENCRYPTION_INTEGRITY_AEAD;
    bool is_gcm = g_strcmp0(encryption->cipher_mode, "gcm") == 0;

    if (is_gcm && !is_aead)
        return refuse(error,
                      "cipher mode 'gcm' needs <integrity mode='aead'/>; add it, or use mode "
                      "'xts'");
    if (dmcrypt->integrity == ENCRYPTION_INTEGRITY_NONE)
        return true;
    if (encryption->format != ENCRYPTION_FORMAT_LUKS2)
        return refuse(error, "encryption format '%s' has no <integrity>; use format 'luks2'",
                      encryption_format_name(encryption->format));
    if (dmcrypt->discard)
        return refuse(error,
                      "discard='yes' and <integrity mode='%s'/> exclude each other: a discarded "
                      "sector has no valid tag; remove one",
                      integrity);
    if (is_aead && encryption->cipher_mode && !is_gcm)
        return refuse(error,
                      "cipher mode '%s' does not authenticate sectors; for <integrity "
                      "mode='aead'/> use mode 'gcm', or use <integrity mode='hmac'/>",
                      encryption->cipher_mode);
    return true;
}

static bool
check_dm_crypt(const struct encryption *encryption, GError **error)
{
    const struct encryption_dmcrypt *dmcrypt = &encryption->dmcrypt;

    if (encryption->format != ENCRYPTION_FORMAT_LUKS2 &&
        encryption->format != ENCRYPTION_FORMAT_LUKS &&
        encryption->format != ENCRYPTION_FORMAT_PLAIN)
        return refuse(error,
                      "engine 'dm-crypt' has no encryption format '%s'; use 'luks2', 'luks' or "
                      "'plain'",
                      encryption_format_name(encryption->format));
    if (dmcrypt->sector_size > 0 && encryption->format == ENCRYPTION_FORMAT_LUKS)
        return refuse(error, "encryption format 'luks' always has sectors of 512 bytes; remove "
                             "sector_size, or use format 'luks2'");
    if (dmcrypt->header_path && encryption->format == ENCRYPTION_FORMAT_PLAIN)
        return refuse(error, "encryption format 'plain' has no header that could be detached; "
                             "remove <header>, or use format 'luks2'");
    if (dmcrypt->header_path && dmcrypt->header_path[0] != '/')
        return refuse(error, "the path '%s' of the detached header is not absolute",
                      dmcrypt->header_path);
    return check_integrity(encryption, error);
}

/* Text that did not come from XML might not survive it. */
static bool
check_texts(const struct encryption *encryption, GError **error)
{
    const char *const texts[] = {
        encryption->secret_usage,        encryption->cipher_name, encryption->cipher_mode,
        encryption->cipher_hash,         encryption->ivgen_name,  encryption->ivgen_hash,
        encryption->dmcrypt.header_path,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *shown = NULL;

        if (!texts[i] || xml_can_hold(texts[i]))
            continue;
        shown = g_utf8_make_valid(texts[i], -1);
        return refuse(error,
                      "'%s' holds what XML cannot: control characters, or bytes that are "
                      "not UTF-8",
                      shown);
    }
    return true;
}

bool
encryption_validate(const struct encryption *encryption, GError **error)
{
    if (!check_texts(encryption, error))
        return false;
    if (encryption->cipher_name && encryption->cipher_size == 0)
        return refuse(error, "cipher '%s' has no key of 0 bits; name its size, as in size='256'",
                      encryption->cipher_name);
    if (encryption->ivgen_name && !encryption->cipher_name) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "ivgen element found, but cipher is missing");
        return false;
    }
    return encryption_is_dm_crypt(encryption) ? check_dm_crypt(encryption, error)
                                              : check_other_engine(encryption, error);
}
