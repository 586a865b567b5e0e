/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: LUKS1, LUKS2 and plain dm-crypt by libcryptsetup: headers, keyslots, tokens, mappings. It
 * knows paths and keys, no volumes. Formats: LUKS1 and LUKS2 On-Disk Format Specifications
 * (https://gitlab.com/cryptsetup/cryptsetup). Thread-safe: one context a call, and one lock around
 * what libcryptsetup and libdevmapper keep for the whole process.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/encryption.h"
#include "storage/progress.h"
#include "util/secret_buf.h"
#include "util/uuid.h"

enum luks_type { LUKS_NONE, LUKS_1, LUKS_2, LUKS_PLAIN };

/* How costly a keyslot is to try. */
enum luks_kdf {
    LUKS_KDF_STRONG,       /* for what a person may have typed: not below libcryptsetup's default
                            * (2 s of PBKDF2 for LUKS1, Argon2id for LUKS2) */
    LUKS_KDF_FULL_ENTROPY, /* for 256 random bits: PBKDF2 with 1 000 rounds, the format's minimum */
};

/* Which key opens it, in a LUKS2 token of type "virtcrypt". */
struct luks_token {
    struct uuid secret;
    char *pool;
    char *volume;
};
void luks_token_clear(struct luks_token *token);

/* Where a container is. */
struct luks_place {
    const char *device;      /* path of a block device or a regular file */
    const char *header_path; /* of a detached header, or NULL */
};

struct luks_format_params {
    enum luks_type type;                 /* LUKS_1 or LUKS_2 */
    const struct encryption *encryption; /* cipher, hash, ivgen, sector size, integrity; NULL or
                                          * unset: aes-xts-plain64, 512 bits, sha256 */
    enum luks_kdf kdf;
    const struct luks_token *token; /* LUKS_2 alone; or NULL */
    bool for_image; /* only the header is made, for QEMU's layers: the payload may be missing yet */
};

/* Writes a new header with `key` in keyslot 0, then opens it with the key to prove it. What was on
 * the device is not looked at (see signature.h). An unknown cipher, mode or hash is
 * ERROR_CONFIG_UNSUPPORTED, and nothing was written. */
bool luks_format(const struct luks_place *place, const struct luks_format_params *params,
                 const struct secret_buf *key, GError **error);

/* What a header of ours takes before the payload, in bytes; 0 for plain mode and for a detached
 * header's payload. */
uint64_t luks_header_size(enum luks_type type);

struct luks_info {
    enum luks_type type; /* LUKS_NONE: no LUKS header; all else is unset then */
    char uuid[64];
    char *cipher; /* "aes-xts-plain64" */
    unsigned int key_bits;
    unsigned int sector_size;
    uint64_t payload_offset; /* bytes; 0 with a detached header */
    unsigned int keyslots;   /* in use */
    bool has_token;
    struct luks_token token;
};
void luks_info_clear(struct luks_info *info);

/* True with type LUKS_NONE where there is no header. */
bool luks_probe(const struct luks_place *place, struct luks_info *ret_info, GError **error);

/* Whether the magic of a LUKS header (either version) is at the start of what `fd` reads. */
bool luks_has_magic(int fd);

/* Opens a keyslot without activating anything. A wrong key is ERROR_AUTH_FAILED naming the device.
 */
bool luks_check_key(const struct luks_place *place, const struct secret_buf *key, GError **error);

/* Adds a keyslot for `new_key`, opened by `key`; or removes the slot that `key` opens, unless it is
 * the last. */
bool luks_add_key(const struct luks_place *place, const struct secret_buf *key,
                  const struct secret_buf *new_key, enum luks_kdf kdf, GError **error);
bool luks_remove_key(const struct luks_place *place, const struct secret_buf *key, GError **error);

bool luks_set_token(const struct luks_place *place, const struct luks_token *token, GError **error);

/* Overwrites the keyslots and the header, flushed: no key opens it any more. */
bool luks_erase(const struct luks_place *place, GError **error);

/* ---- mappings: the device-mapper devices of opened containers ---- */

struct luks_open_params {
    enum luks_type type;                 /* LUKS_PLAIN: by `encryption` alone */
    const struct encryption *encryption; /* performance options; plain: cipher, hash, sizes */
    bool is_readonly;
};

/* Opens as /dev/mapper/`name`, which is there when it returns (udev is waited for only where udevd
 * runs). `type` LUKS_NONE: whichever the header is. Already open by that name:
 * ERROR_OPERATION_INVALID. Wrong key: as luks_check_key (plain mode can't tell). */
bool luks_open(const struct luks_place *place, const char *name,
               const struct luks_open_params *params, const struct secret_buf *key, GError **error);

/* Not open: true. Held open by somebody: ERROR_RESOURCE_BUSY. */
bool luks_close(const char *name, GError **error);

struct luks_mapping {
    bool is_open;
    bool is_readonly;
    char *device;  /* of the container, as the kernel has it */
    uint64_t size; /* bytes */
};
void luks_mapping_clear(struct luks_mapping *mapping);
bool luks_find_mapping(const char *name, struct luks_mapping *ret_mapping, GError **error);

/* To `size` bytes, or (0) to all that the container has. */
bool luks_resize(const struct luks_place *place, const char *name, uint64_t size,
                 const struct secret_buf *key, GError **error);

/* A new container with <integrity> can't be read before every sector was written once: does that
 * through a mapping of that name, which is closed again. */
bool luks_init_integrity(const struct luks_place *place, const char *name,
                         const struct secret_buf *key, struct storage_progress *progress,
                         GError **error);

/* Whether this kernel has device-mapper with the crypt target; otherwise ERROR_CONFIG_UNSUPPORTED.
 */
bool luks_check_kernel(GError **error);

typedef struct luks_info luks_info_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(luks_info_t, luks_info_clear)
typedef struct luks_token luks_token_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(luks_token_t, luks_token_clear)
typedef struct luks_mapping luks_mapping_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(luks_mapping_t, luks_mapping_clear)
