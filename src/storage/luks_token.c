/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: luks_token.h.
 */
#include "storage/luks_token.h"

#include <json-c/json.h>
#include <string.h>

static const char token_type[] = "virtcrypt";
enum { NAME_BYTES_MAX = 255 };

void
luks_token_clear(struct luks_token *token)
{
    g_clear_pointer(&token->pool, g_free);
    g_clear_pointer(&token->volume, g_free);
}

/* The number of our token, or CRYPT_ANY_TOKEN. */
static int
find_token(struct crypt_device *crypt)
{
    int count = crypt_token_max(CRYPT_LUKS2);

    for (int i = 0; i < count; i++) {
        const char *type = NULL;
        crypt_token_info status = crypt_token_status(crypt, i, &type);

        if ((status == CRYPT_TOKEN_EXTERNAL || status == CRYPT_TOKEN_EXTERNAL_UNKNOWN) &&
            g_strcmp0(type, token_type) == 0)
            return i;
    }
    return CRYPT_ANY_TOKEN;
}

static struct json_object *
token_to_json(const struct luks_token *token)
{
    struct json_object *root = json_object_new_object();
    char uuid[UUID_TEXT_SIZE];

    json_object_object_add(root, "type", json_object_new_string(token_type));
    json_object_object_add(root, "keyslots", json_object_new_array());
    json_object_object_add(root, "secret",
                           json_object_new_string(uuid_format(&token->secret, uuid)));
    json_object_object_add(root, "pool", json_object_new_string(token->pool));
    json_object_object_add(root, "volume", json_object_new_string(token->volume));
    return root;
}

bool
luks_token_put(const struct luks_context *context, const struct luks_token *token, GError **error)
{
    struct json_object *root = token_to_json(token);
    int result = crypt_token_json_set(context->crypt, find_token(context->crypt),
                                      json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN));

    json_object_put(root);
    if (result >= 0)
        return true;
    luks_context_set_error(context, result, "writing the token that names the secret", error);
    return false;
}

/* NULL if it is missing or no name. */
static const char *
find_name(struct json_object *root, const char *key)
{
    struct json_object *member = NULL;
    const char *text;
    size_t len;

    if (!json_object_object_get_ex(root, key, &member) ||
        !json_object_is_type(member, json_type_string))
        return NULL;
    text = json_object_get_string(member);
    len = (size_t)json_object_get_string_len(member);
    return len > 0 && len <= NAME_BYTES_MAX && strlen(text) == len &&
                   g_utf8_validate(text, -1, NULL)
               ? text
               : NULL;
}

bool
luks_token_get(const struct luks_context *context, struct luks_token *ret_token)
{
    int number = find_token(context->crypt);
    const char *text = NULL;
    struct json_object *root;
    const char *secret, *pool, *volume;
    struct uuid uuid;
    bool is_found;

    if (number == CRYPT_ANY_TOKEN || crypt_token_json_get(context->crypt, number, &text) < 0)
        return false;
    root = json_tokener_parse(text);
    if (!root)
        return false;
    secret = find_name(root, "secret");
    pool = find_name(root, "pool");
    volume = find_name(root, "volume");
    is_found = secret && pool && volume && uuid_parse(secret, &uuid);
    if (is_found) {
        ret_token->secret = uuid;
        ret_token->pool = g_strdup(pool);
        ret_token->volume = g_strdup(volume);
    }
    json_object_put(root);
    return is_found;
}
