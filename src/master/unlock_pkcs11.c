/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the unlock method "pkcs11": a random slot key, encrypted by an AES key that never leaves a
 * token. The URI (RFC 7512) says which; it may name a file with the PIN, never the PIN itself,
 * since the slots file is no secret.
 */
#include <string.h>

#include "master/unlock_ask.h"
#include "master/unlock_methods.h"
#include "util/error.h"

#define URI_FIELD "uri"
#define SCHEME    "pkcs11:"

enum { URI_MAX = 2048 };

static bool
check_uri(const char *uri, GError **error)
{
    if (!uri || !g_str_has_prefix(uri, SCHEME) || strlen(uri) > URI_MAX)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the parameter '%s' of a pkcs11 slot is needed: an AES key on a token, such as "
                  "'pkcs11:token=TOKEN;object=KEY?pin-source=/etc/libvirt/virtcrypt/pin'",
                  URI_FIELD);
    else if (strstr(uri, "pin-value"))
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "a URI with the PIN in it (pin-value) can't be kept in a slot: put the PIN into "
                  "a file that only root can read, and name that by pin-source");
    else if (strstr(uri, "module-path"))
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "a URI with module-path is not taken: modules are those that are registered with "
                  "p11-kit (pkcs11.conf(5))");
    else
        return true;
    return false;
}

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

    if (!slot_key || !check_uri(fields_get(slot->fields, URI_FIELD), error) ||
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
};
