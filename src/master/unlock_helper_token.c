/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: unlock_helper_token.h. Modules are those that root registered with p11-kit. A PIN is given
 * to exactly one token, and not where one more mistake would lock that.
 */
#include "master/unlock_helper_token.h"

#include <stdlib.h>
#include <string.h>

#include "master/pkcs11_uri.h"
#include "master/unlock_helper_ckr.h"
#include "master/unlock_helper_pin.h"
#include "util/error.h"

enum { SLOTS_LIMIT = 64, ATTRIBUTES_LIMIT = 16 };

bool
unlock_token_check(CK_RV rv, const char *what, GError **error)
{
    const char *name = unlock_ckr_name(rv);

    if (rv == CKR_OK)
        return true;
    if (name)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "cannot %s: %s (%s)", what,
                  name, p11_kit_strerror(rv));
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "cannot %s: 0x%lx (%s)", what,
                  rv, p11_kit_strerror(rv));
    return false;
}

/* ---- the URI ---- */

static bool
parse_uri(struct unlock_token *token, const char *text, const char *shown, GError **error)
{
    int rc;
    CK_ATTRIBUTE *class;

    if (!pkcs11_uri_check(text, error))
        return false;
    token->uri = p11_kit_uri_new();
    rc = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, token->uri);
    class = rc == P11_KIT_URI_OK ? p11_kit_uri_get_attribute(token->uri, CKA_CLASS) : NULL;
    if (rc != P11_KIT_URI_OK)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "'%s' is no PKCS#11 URI: %s", shown,
                  p11_kit_uri_message(rc));
    else if (p11_kit_uri_any_unrecognized(token->uri))
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the PKCS#11 URI '%s' has an attribute that p11-kit does not know", shown);
    else if (p11_kit_uri_get_pin_value(token->uri) || p11_kit_uri_get_module_path(token->uri))
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "a PKCS#11 URI with pin-value or module-path is not taken");
    else if (class && (class->ulValueLen != sizeof(CK_OBJECT_CLASS) ||
                       *(CK_OBJECT_CLASS *)class->pValue != CKO_SECRET_KEY))
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the PKCS#11 URI '%s' names no secret key (type=secret-key)", shown);
    else
        return true;
    return false;
}

/* ---- the token ---- */

/* A module that does not start is as good as none; which ones are wanted nobody knows. */
static bool
start_modules(struct unlock_token *token, GError **error)
{
    const char *wanted = p11_kit_uri_get_module_name(token->uri);

    token->started = g_ptr_array_new();
    token->modules = p11_kit_modules_load(NULL, 0);
    if (!token->modules) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "p11-kit cannot load its modules: %s", p11_kit_message());
        return false;
    }
    for (unsigned int i = 0; token->modules[i]; i++) {
        char *name = p11_kit_module_get_name(token->modules[i]);

        if ((!wanted || g_strcmp0(name, wanted) == 0) &&
            p11_kit_module_initialize(token->modules[i]) == CKR_OK)
            g_ptr_array_add(token->started, token->modules[i]);
        free(name);
    }
    return true;
}

struct place {
    CK_FUNCTION_LIST *module;
    CK_SLOT_ID slot;
    CK_TOKEN_INFO info;
};

static bool
matches(const struct unlock_token *token, CK_FUNCTION_LIST *module, CK_SLOT_ID slot,
        CK_TOKEN_INFO *ret_info)
{
    CK_SLOT_INFO slot_info;

    return module->C_GetSlotInfo(slot, &slot_info) == CKR_OK &&
           p11_kit_uri_match_slot_info(token->uri, &slot_info) &&
           module->C_GetTokenInfo(slot, ret_info) == CKR_OK &&
           (ret_info->flags & CKF_TOKEN_INITIALIZED) &&
           p11_kit_uri_match_token_info(token->uri, ret_info);
}

static void
add_places(const struct unlock_token *token, CK_FUNCTION_LIST *module, GArray *places)
{
    CK_SLOT_ID slots[SLOTS_LIMIT];
    CK_ULONG count = G_N_ELEMENTS(slots);
    CK_INFO info;

    if (module->C_GetInfo(&info) != CKR_OK || !p11_kit_uri_match_module_info(token->uri, &info) ||
        module->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
        return;
    for (CK_ULONG i = 0; i < count; i++) {
        struct place place = {.module = module, .slot = slots[i]};

        if (matches(token, module, slots[i], &place.info))
            g_array_append_val(places, place);
    }
}

/* ---- the PIN ---- */

static char *
label_of(const struct place *place)
{
    g_autofree char *label = g_strndup((const char *)place->info.label, sizeof(place->info.label));

    return g_utf8_make_valid(g_strchomp(label), -1);
}

/* Each start of the daemon tries again: three of them with a wrong PIN must not lock the token. */
static bool
check_tries(const struct place *place, const char *label, GError **error)
{
    if (place->info.flags & CKF_USER_PIN_LOCKED)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_DENIED,
                  "the PIN of the token '%s' is locked: set a new one with the security officer's "
                  "PIN",
                  label);
    else if (place->info.flags & CKF_USER_PIN_FINAL_TRY)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_DENIED,
                  "one more wrong PIN locks the token '%s', so it is not tried: correct the PIN "
                  "file, and log in once by hand ('pkcs11-tool --login --list-objects')",
                  label);
    else
        return true;
    return false;
}

static bool
log_in(struct unlock_token *token, const struct place *place, GError **error)
{
    const char *pin_source = p11_kit_uri_get_pin_source(token->uri);
    g_autofree char *label = label_of(place);
    g_autoptr(secret_buf_t) pin = NULL;
    CK_RV rv;

    if (!pin_source || !(place->info.flags & CKF_LOGIN_REQUIRED))
        return true;
    if (!check_tries(place, label, error))
        return false;
    pin = unlock_pin_read(pin_source, error);
    if (!pin)
        return false;
    rv = token->module->C_Login(token->session, CKU_USER, secret_buf_writable(pin),
                                secret_buf_len(pin));
    if (rv == CKR_USER_ALREADY_LOGGED_IN)
        return true;
    if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_AUTH_FAILED,
                  "the token '%s' refuses the PIN in %s: %s. Correct that file before the token "
                  "locks itself",
                  label, pin_source, unlock_ckr_name(rv));
        return false;
    }
    return unlock_token_check(rv, "log in to the token", error);
}

/* ---- the key ---- */

/* How many keys there are, up to 2; the last one is kept. */
static bool
find_keys(struct unlock_token *token, CK_ULONG *ret_count, GError **error)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE template[ATTRIBUTES_LIMIT] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
    };
    CK_ULONG used = 2;
    CK_ULONG given = 0;
    CK_ATTRIBUTE *attributes = p11_kit_uri_get_attributes(token->uri, &given);
    CK_OBJECT_HANDLE found[2];
    CK_RV rv;

    for (CK_ULONG i = 0; i < given && used < ATTRIBUTES_LIMIT; i++) {
        if (attributes[i].type != CKA_CLASS)
            template[used++] = attributes[i];
    }
    rv = token->module->C_FindObjectsInit(token->session, template, used);
    if (rv == CKR_OK) {
        rv = token->module->C_FindObjects(token->session, found, G_N_ELEMENTS(found), ret_count);
        token->module->C_FindObjectsFinal(token->session);
    }
    if (!unlock_token_check(rv, "look for the key on the token", error))
        return false;
    if (*ret_count == 1)
        token->key = found[0];
    return true;
}

static bool
refuse_count(const struct unlock_token *token, const struct place *place, CK_ULONG count,
             GError **error)
{
    g_autofree char *label = label_of(place);
    bool needs_pin =
        (place->info.flags & CKF_LOGIN_REQUIRED) && !p11_kit_uri_get_pin_source(token->uri);

    if (count > 1)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the URI fits several AES keys of the token '%s': add object= or id=", label);
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
                  "the token '%s' has no AES key that the URI fits%s", label,
                  needs_pin ? ": it shows its keys only after a login, for which the URI needs "
                              "?pin-source=FILE"
                            : ": it was removed, or is another token");
    return false;
}

static bool
open_place(struct unlock_token *token, const struct place *place, GError **error)
{
    CK_ULONG count = 0;

    token->module = place->module;
    if (!unlock_token_check(token->module->C_OpenSession(place->slot, CKF_SERIAL_SESSION, NULL,
                                                         NULL, &token->session),
                            "open a session with the token", error) ||
        !log_in(token, place, error) || !find_keys(token, &count, error))
        return false;
    return count == 1 || refuse_count(token, place, count, error);
}

bool
unlock_token_open(struct unlock_token *token, const char *uri, GError **error)
{
    g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(struct place));
    g_autofree char *shown = pkcs11_uri_show(uri);

    if (!parse_uri(token, uri, shown, error) || !start_modules(token, error))
        return false;
    for (guint i = 0; i < token->started->len; i++)
        add_places(token, g_ptr_array_index(token->started, i), places);
    if (places->len == 1)
        return open_place(token, &g_array_index(places, struct place, 0), error);
    if (places->len == 0)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "no token fits '%s': it is not plugged in, or its module is not registered with "
                  "p11-kit ('p11-kit list-modules' shows what is)",
                  shown);
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "%u tokens fit '%s': add token= or serial=", places->len, shown);
    return false;
}

void
unlock_token_clear(struct unlock_token *token)
{
    if (token->session != CK_INVALID_HANDLE)
        token->module->C_CloseSession(token->session);
    for (guint i = 0; token->started && i < token->started->len; i++)
        p11_kit_module_finalize(g_ptr_array_index(token->started, i));
    if (token->started)
        g_ptr_array_unref(token->started);
    if (token->modules)
        p11_kit_modules_release(token->modules);
    p11_kit_uri_free(token->uri);
    *token = (struct unlock_token){0};
}
