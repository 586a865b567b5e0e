/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the unlock method "recovery": 256 random bits that a person keeps on paper. They are made
 * by who shows them, not here.
 */
#include "master/hkdf.h"
#include "master/recovery_text.h"
#include "master/unlock_methods.h"
#include "util/error.h"

static const char purpose[] = "virtcrypt recovery v1";

static struct secret_buf *
recovery_open(const struct unlock_context *context, const struct slot *slot,
              const struct secret_buf *secret, GError **error)
{
    g_autoptr(secret_buf_t) bytes = NULL;

    if (!secret) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the recovery passphrase is needed: %d groups of %d letters and digits",
                  RECOVERY_GROUPS, RECOVERY_GROUP_LEN);
        return NULL;
    }
    bytes = recovery_text_parse(secret, error);
    return bytes ? hkdf_derive(slot->id.bytes, sizeof(slot->id.bytes), bytes, purpose, error)
                 : NULL;
}

static struct secret_buf *
recovery_enroll(const struct unlock_context *context, struct slot *slot,
                const struct secret_buf *secret, GError **error)
{
    return recovery_open(context, slot, secret, error);
}

static const char *const no_fields[] = {NULL};

const struct unlock_method unlock_method_recovery = {
    .method = SLOT_RECOVERY,
    .name = "recovery",
    .needs_person = true,
    .open = recovery_open,
    .enroll = recovery_enroll,
    .asked_fields = no_fields,
    .shown_fields = no_fields,
};
