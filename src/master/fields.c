/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: named texts, as fields.h says. Invariant: whatever is in a struct fields holds the limits,
 * so that its bytes always can be read again.
 */
#include "master/fields.h"

#include <string.h>

#include "util/big_endian.h"
#include "util/error.h"

enum { LENGTH_SIZE = 2 };

struct field {
    char *name;
    char *value;
};

struct fields {
    unsigned int count;
    struct field entries[FIELDS_MAX];
};

struct fields *
fields_new(void)
{
    return g_new0(struct fields, 1);
}

struct fields *
fields_copy(const struct fields *fields)
{
    struct fields *copy = fields_new();

    for (unsigned int i = 0; i < fields->count; i++) {
        copy->entries[i].name = g_strdup(fields->entries[i].name);
        copy->entries[i].value = g_strdup(fields->entries[i].value);
    }
    copy->count = fields->count;
    return copy;
}

void
fields_free(struct fields *fields)
{
    if (!fields)
        return;
    for (unsigned int i = 0; i < fields->count; i++) {
        g_free(fields->entries[i].name);
        g_free(fields->entries[i].value);
    }
    g_free(fields);
}

bool
fields_is_text(const char *text, size_t len)
{
    if (!g_utf8_validate_len(text, len, NULL))
        return false;
    for (const char *at = text; at < text + len; at = g_utf8_next_char(at)) {
        if (g_unichar_iscntrl(g_utf8_get_char(at)))
            return false;
    }
    return true;
}

static bool
is_name(const char *name, size_t len)
{
    if (len < 1 || len > FIELD_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!g_ascii_islower(name[i]) && !g_ascii_isdigit(name[i]) && name[i] != '-')
            return false;
    }
    return true;
}

static struct field *
find(const struct fields *fields, const char *name)
{
    for (unsigned int i = 0; i < fields->count; i++) {
        if (strcmp(fields->entries[i].name, name) == 0)
            return (struct field *)&fields->entries[i];
    }
    return NULL;
}

bool
fields_set(struct fields *fields, const char *name, const char *value, GError **error)
{
    struct field *field = find(fields, name);

    if (!is_name(name, strlen(name))) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the name of a field has 1 to %d characters of a-z, 0-9 and '-'", FIELD_NAME_MAX);
    } else if (strlen(value) > FIELD_VALUE_MAX || !fields_is_text(value, strlen(value))) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the field '%s' is no text of at most %d bytes without control characters", name,
                  FIELD_VALUE_MAX);
    } else if (!field && fields->count == FIELDS_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "there is no room for the field '%s': %d is the maximum", name, FIELDS_MAX);
    } else {
        if (!field) {
            field = &fields->entries[fields->count++];
            field->name = g_strdup(name);
        }
        g_free(field->value);
        field->value = g_strdup(value);
        return true;
    }
    return false;
}

bool
fields_set_number(struct fields *fields, const char *name, uint64_t value, GError **error)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

    return fields_set(fields, name, text, error);
}

bool
fields_set_bytes(struct fields *fields, const char *name, const void *bytes, size_t len,
                 GError **error)
{
    g_autofree char *text = NULL;

    if (len > FIELD_VALUE_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the field '%s' has %zu bytes, which is too many", name, len);
        return false;
    }
    text = g_base64_encode(bytes, len);
    return fields_set(fields, name, text, error);
}

const char *
fields_get(const struct fields *fields, const char *name)
{
    const struct field *field = find(fields, name);

    return field ? field->value : NULL;
}

static const char *
get_needed(const struct fields *fields, const char *name, GError **error)
{
    const char *value = fields_get(fields, name);

    if (!value)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "the field '%s' is missing", name);
    return value;
}

bool
fields_get_number(const struct fields *fields, const char *name, uint64_t min, uint64_t max,
                  uint64_t *ret_value, GError **error)
{
    const char *value = get_needed(fields, name, error);
    guint64 number;

    if (!value)
        return false;
    if (!g_ascii_string_to_unsigned(value, 10, min, max, &number, NULL)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the field '%s' is no number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                  name, min, max);
        return false;
    }
    *ret_value = number;
    return true;
}

GBytes *
fields_get_bytes(const struct fields *fields, const char *name, size_t max, GError **error)
{
    const char *value = get_needed(fields, name, error);
    g_autofree guchar *bytes = NULL;
    g_autofree char *again = NULL;
    gsize len = 0;

    if (!value)
        return NULL;
    /* GLib's decoder takes anything; what it makes of it has to be written like this. */
    bytes = g_base64_decode(value, &len);
    again = g_base64_encode(bytes, len);
    if (strcmp(value, again) != 0 || len > max) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the field '%s' is no base64 of at most %zu bytes", name, max);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&bytes), len);
}

size_t
fields_count(const struct fields *fields)
{
    return fields->count;
}

const char *
fields_name(const struct fields *fields, size_t index)
{
    g_assert(index < fields->count);
    return fields->entries[index].name;
}

static void
append_number(GByteArray *to, size_t value)
{
    uint8_t bytes[LENGTH_SIZE];

    big_endian_put(bytes, value, sizeof(bytes));
    g_byte_array_append(to, bytes, sizeof(bytes));
}

static void
append_text(GByteArray *to, const char *text)
{
    append_number(to, strlen(text));
    g_byte_array_append(to, (const uint8_t *)text, (guint)strlen(text));
}

void
fields_append(const struct fields *fields, GByteArray *to)
{
    append_number(to, fields->count);
    for (unsigned int i = 0; i < fields->count; i++) {
        append_text(to, fields->entries[i].name);
        append_text(to, fields->entries[i].value);
    }
}

static bool
take_number(const uint8_t **at, const uint8_t *end, size_t *ret_value)
{
    if (end - *at < LENGTH_SIZE)
        return false;
    *ret_value = (size_t)big_endian_get(*at, LENGTH_SIZE);
    *at += LENGTH_SIZE;
    return true;
}

/* A text of at most `max` bytes without a NUL, or NULL. */
static char *
take_text(const uint8_t **at, const uint8_t *end, size_t max)
{
    char *text;
    size_t len;

    if (!take_number(at, end, &len) || len > max || (size_t)(end - *at) < len ||
        memchr(*at, '\0', len))
        return NULL;
    text = g_strndup((const char *)*at, len);
    *at += len;
    return text;
}

static bool
take_field(struct fields *fields, const uint8_t **at, const uint8_t *end)
{
    g_autofree char *name = take_text(at, end, FIELD_NAME_MAX);
    g_autofree char *value = name ? take_text(at, end, FIELD_VALUE_MAX) : NULL;

    return value && !find(fields, name) && fields_set(fields, name, value, NULL);
}

struct fields *
fields_parse(const uint8_t **at, const uint8_t *end, GError **error)
{
    g_autoptr(fields_t) fields = fields_new();
    size_t count = 0;
    bool is_whole = take_number(at, end, &count) && count <= FIELDS_MAX;

    for (size_t i = 0; is_whole && i < count; i++)
        is_whole = take_field(fields, at, end);
    if (!is_whole) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "the fields are damaged");
        return NULL;
    }
    return g_steal_pointer(&fields);
}
