/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what options of a command say about a volume, as the XML that virtcryptd takes. Pure.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

/* Numbers as virtcrypt_volume.x has them. */
enum volume_spec_kind {
    VOLUME_SPEC_QCOW2,
    VOLUME_SPEC_RAW,
    VOLUME_SPEC_DM_CRYPT,
    VOLUME_SPEC_UNKNOWN, /* as the other side thinks right */
};

struct volume_spec {
    const char *name;
    enum volume_spec_kind kind;
    bool is_encrypted; /* has an <encryption> element */
    bool has_capacity;
    uint64_t capacity; /* bytes */
    bool has_allocation;
    uint64_t allocation;        /* bytes */
    const char *path;           /* of the target, or NULL */
    const char *backing_path;   /* or NULL */
    const char *backing_format; /* or NULL */
    bool has_secret;
    struct uuid secret; /* whose value is the key; else one is generated or sent along */
    const char *cipher; /* volume_spec_check_cipher's form, or NULL */
};

/* "qcow2", "raw", "dm-crypt"; "unknown" for another number of the wire. */
const char *volume_spec_kind_name(int kind);
bool volume_spec_find_kind(const char *name, enum volume_spec_kind *ret_kind, GError **error);

/* NAME-BITS, NAME-BITS-MODE, NAME-BITS-MODE-IVGEN or NAME-BITS-MODE-IVGEN:HASH. */
bool volume_spec_check_cipher(const char *cipher, GError **error);

/* The <volume> element. The cipher must have been checked. */
char *volume_spec_format(const struct volume_spec *spec);
