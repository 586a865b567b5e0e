/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the unlock method "pkcs11": a random slot key, encrypted by an AES key that never leaves a
 * token. The URI (RFC 7512) says which; it may name a file with the PIN, never the PIN itself,
 * since the slots file is no secret.
 */
#include "master/pkcs11_uri.h"
#include "master/unlock_ask.h"
#include "master/unlock_methods.h"

#define URI_FIELD "uri"

static struct secret_buf *
pkcs11_open(const struct unlock_context *context, const struct slot *slot,
            const struct secret_buf *secret, GError **error)
{
    return unlock_ask_key(context, HELPER_PKCS11_UNWRAP, slot->fields, NULL, error);
}

static struct secret_buf *
pkcs11_enroll(const struct unlock_context *context, struct slot *slot,
              const struct secret_buf *secret, GError **error)
{
    static const char *const names[] = {"iv", "wrapped", NULL};
    g_autoptr(secret_buf_t) slot_key = secret_buf_new_random(SLOT_KEY_SIZE, error);
    g_auto(helper_reply_t) reply = {0};

    if (!slot_key || !pkcs11_uri_check(fields_get(slot->fields, URI_FIELD), error) ||
        !unlock_ask(context, HELPER_PKCS11_WRAP, slot->fields, slot_key, &reply, error) ||
        !unlock_ask_take_fields(&reply, names, slot->fields, error))
        return NULL;
    return g_steal_pointer(&slot_key);
}

static const char *const uri_fields[] = {URI_FIELD, NULL};

const struct unlock_method unlock_method_pkcs11 = {
    .method = SLOT_PKCS11,
    .name = "pkcs11",
    .open = pkcs11_open,
    .enroll = pkcs11_enroll,
    .asked_fields = uri_fields,
    .shown_fields = uri_fields,
    .show = pkcs11_uri_show,
};
