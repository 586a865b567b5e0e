/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: pkcs11_uri.h. Whether the values are right is p11-kit's to say, in the helper.
 */
#include "master/pkcs11_uri.h"

#include <string.h>

#include "util/error.h"

#define SCHEME      "pkcs11:"
#define FILE_SCHEME "file:"
#define LEFT_OUT    "..."
/* RFC 7512 allows some of them within some values; a PIN behind the wrong one would be taken for a
 * part of what is before it. */
#define SEPARATORS "&;?"

enum { URI_MAX = 2048, NAME_MAX_SHOWN = 32 };

static const char *const path_names[] = {
    "token",
    "manufacturer",
    "serial",
    "model",
    "library-description",
    "library-manufacturer",
    "library-version",
    "object",
    "type",
    "object-type",
    "id",
    "slot-description",
    "slot-id",
    "slot-manufacturer",
    NULL,
};
static const char *const query_names[] = {"pin-source", "module-name", NULL};

struct attribute {
    const char *text; /* from its name to the end of its value */
    size_t len;
    size_t name_len;
    bool is_query;
};

/* The next one from `*at` on; false at the end. */
static bool
next_attribute(const char **at, bool *is_query, struct attribute *ret_attribute)
{
    const char *text = *at;
    const char *equals;
    size_t len = strcspn(text, SEPARATORS);

    if (*text == '\0')
        return false;
    equals = memchr(text, '=', len);
    *ret_attribute =
        (struct attribute){text, len, equals ? (size_t)(equals - text) : len, *is_query};
    *is_query |= text[len] == '?';
    *at = text + len + (text[len] != '\0');
    return true;
}

static bool
has_name(const struct attribute *attribute, const char *name)
{
    return strlen(name) == attribute->name_len &&
           strncmp(attribute->text, name, attribute->name_len) == 0;
}

/* A PIN where the name of its file should be must not be shown, either. */
static bool
is_path(const struct attribute *attribute)
{
    const char *value = attribute->text + attribute->name_len + 1;

    return attribute->name_len < attribute->len &&
           (*value == '/' || strncmp(value, FILE_SCHEME "/", strlen(FILE_SCHEME "/")) == 0 ||
            g_ascii_strncasecmp(value, "%2f", 3) == 0);
}

static bool
is_known(const struct attribute *attribute)
{
    const char *const *names = attribute->is_query ? query_names : path_names;

    if (attribute->name_len == attribute->len)
        return false;
    for (unsigned int i = 0; names[i]; i++) {
        if (has_name(attribute, names[i]))
            return !has_name(attribute, "pin-source") || is_path(attribute);
    }
    return false;
}

/* Whether it can be nothing but a name: digits may be a PIN that was typed in the wrong place. */
static bool
is_plain_name(const struct attribute *attribute)
{
    if (attribute->name_len == attribute->len || attribute->name_len == 0 ||
        attribute->name_len > NAME_MAX_SHOWN)
        return false;
    for (size_t i = 0; i < attribute->name_len; i++) {
        if (!g_ascii_isalpha(attribute->text[i]) && attribute->text[i] != '-')
            return false;
    }
    return true;
}

static bool
refuse(const struct attribute *attribute, GError **error)
{
    g_autofree char *name =
        is_plain_name(attribute)
            ? g_strdup_printf(" '%.*s'", (int)attribute->name_len, attribute->text)
            : g_strdup("");

    if (has_name(attribute, "pin-value"))
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "a URI with the PIN in it (pin-value) can't be kept in a slot: put the PIN into "
                  "a file that only root can read, and name that by pin-source");
    else if (has_name(attribute, "pin-source"))
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the pin-source of a PKCS#11 URI is the absolute path of a file with the PIN, "
                  "behind the '?'");
    else if (has_name(attribute, "module-path"))
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "a URI with module-path is not taken: modules are those that are registered with "
                  "p11-kit (pkcs11.conf(5))");
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the PKCS#11 URI has an attribute%s that is not known there, whose value is not "
                  "repeated here because it may be a PIN: before the '?' are token=, object=, id= "
                  "and so on, separated by ';', behind it pin-source= and module-name=, separated "
                  "by '&'; one of '&;?' within a name is written as %%26, %%3b or %%3f",
                  name);
    return false;
}

bool
pkcs11_uri_check(const char *uri, GError **error)
{
    struct attribute attribute;
    bool is_query = false;
    const char *at;

    if (!uri || !g_str_has_prefix(uri, SCHEME) || strlen(uri) > URI_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the parameter 'uri' of a pkcs11 slot is needed: an AES key on a token, such as "
                  "'pkcs11:token=TOKEN;object=KEY?pin-source=/etc/libvirt/virtcrypt/pin'");
        return false;
    }
    at = uri + strlen(SCHEME);
    while (next_attribute(&at, &is_query, &attribute)) {
        if (attribute.len > 0 && !is_known(&attribute))
            return refuse(&attribute, error);
    }
    return true;
}

char *
pkcs11_uri_show(const char *uri)
{
    g_autoptr(GString) shown = g_string_new(SCHEME);
    struct attribute attribute;
    bool is_query = false;
    const char *at;

    if (!g_str_has_prefix(uri, SCHEME))
        return g_strdup(LEFT_OUT);
    at = uri + strlen(SCHEME);
    while (next_attribute(&at, &is_query, &attribute)) {
        if (attribute.len > 0 && !is_known(&attribute))
            g_string_append(shown, LEFT_OUT);
        else
            g_string_append_len(shown, attribute.text, (gssize)attribute.len);
        if (attribute.text[attribute.len] != '\0')
            g_string_append_c(shown, attribute.text[attribute.len]);
    }
    return g_steal_pointer(&shown->str);
}
