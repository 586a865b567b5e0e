/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the <encryption> element (its XML is in encryption_xml.h) of volumes and disks: everything
 * that libvirt takes (https://libvirt.org/formatstorageencryption.html), engine='dm-crypt',
 * format='plain', and the <dmcrypt> element. What is not understood is an error: encryption is
 * never dropped in silence.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "util/uuid.h"

enum encryption_engine {
    ENCRYPTION_ENGINE_DEFAULT, /* none named: QEMU's */
    ENCRYPTION_ENGINE_QEMU,
    ENCRYPTION_ENGINE_LIBRBD,
    ENCRYPTION_ENGINE_DM_CRYPT, /* ours */
    ENCRYPTION_ENGINE_LAST,
};

enum encryption_format {
    ENCRYPTION_FORMAT_DEFAULT,
    ENCRYPTION_FORMAT_QCOW,
    ENCRYPTION_FORMAT_LUKS, /* LUKS1 */
    ENCRYPTION_FORMAT_LUKS2,
    ENCRYPTION_FORMAT_LUKS_ANY,
    ENCRYPTION_FORMAT_PLAIN, /* ours, dm-crypt alone */
    ENCRYPTION_FORMAT_LAST,
};

enum encryption_secret {
    ENCRYPTION_SECRET_NONE, /* a key is generated */
    ENCRYPTION_SECRET_UUID,
    ENCRYPTION_SECRET_USAGE,
};

/* <integrity mode='aead'|'hmac'/>: authenticated sectors (LUKS2 alone). */
enum encryption_integrity {
    ENCRYPTION_INTEGRITY_NONE,
    ENCRYPTION_INTEGRITY_AEAD, /* AES-GCM-random of LUKS2 */
    ENCRYPTION_INTEGRITY_HMAC, /* AES-XTS with HMAC-SHA256 */
    ENCRYPTION_INTEGRITY_LAST,
};

/* <dmcrypt sector_size='4096' discard='yes' no_read_workqueue='yes' no_write_workqueue='yes'
 *          same_cpu_crypt='yes' submit_from_crypt_cpus='yes'>
 *    <integrity mode='hmac'/> <header path='/...'/> </dmcrypt> */
struct encryption_dmcrypt {
    unsigned int sector_size; /* bytes: 512, 1024, 2048 or 4096; 0: the format's default */
    bool discard;
    bool no_read_workqueue;
    bool no_write_workqueue;
    bool same_cpu_crypt;
    bool submit_from_crypt_cpus;
    enum encryption_integrity integrity;
    char *header_path; /* of a detached header, or NULL */
};

struct encryption {
    enum encryption_engine engine;
    enum encryption_format format;
    enum encryption_secret secret_by;
    struct uuid secret_uuid;  /* ENCRYPTION_SECRET_UUID */
    char *secret_usage;       /* ENCRYPTION_SECRET_USAGE: usage id of a secret of type volume */
    char *cipher_name;        /* "aes", or NULL: the default */
    unsigned int cipher_size; /* bits; 0 without a <cipher> */
    char *cipher_mode;        /* or NULL */
    char *cipher_hash;        /* or NULL */
    char *ivgen_name;         /* or NULL */
    char *ivgen_hash;         /* or NULL */
    struct encryption_dmcrypt dmcrypt; /* all zero for other engines */
};

struct encryption *encryption_copy(const struct encryption *encryption);
void encryption_free(struct encryption *encryption);

/* False for NULL, too. */
bool encryption_is_dm_crypt(const struct encryption *encryption);

/* Whether the settings go together; encryption_parse asks it, and whoever makes an encryption in
 * another way should. Errors: ERROR_CONFIG_UNSUPPORTED. */
bool encryption_validate(const struct encryption *encryption, GError **error);

/* "luks2", "dm-crypt", "hmac" and so on, as in XML. */
const char *encryption_format_name(enum encryption_format format);
const char *encryption_engine_name(enum encryption_engine engine);
const char *encryption_integrity_name(enum encryption_integrity integrity);

typedef struct encryption encryption_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(encryption_t, encryption_free)
