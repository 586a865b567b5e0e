/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: named texts, in their order: the parameters of a slot, and of what a helper is asked. Bytes
 * are base64 in them. Never key bytes.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* In bytes, without a closing NUL. */
enum { FIELDS_MAX = 16, FIELD_NAME_MAX = 32, FIELD_VALUE_MAX = 8192 };

struct fields;

/* Valid UTF-8 without control characters. */
bool fields_is_text(const char *text, size_t len);

struct fields *fields_new(void);
struct fields *fields_copy(const struct fields *fields);
void fields_free(struct fields *fields);

/* Names are [a-z0-9-]+, values printable UTF-8; a name that is there gets the new value. Errors
 * (ERROR_INVALID_ARG): a bad name or value, too many, too long. */
bool fields_set(struct fields *fields, const char *name, const char *value, GError **error);
bool fields_set_number(struct fields *fields, const char *name, uint64_t value, GError **error);
bool fields_set_bytes(struct fields *fields, const char *name, const void *bytes, size_t len,
                      GError **error);

/* Borrowed, or NULL. */
const char *fields_get(const struct fields *fields, const char *name);
/* False with an error if it is missing or no number from `min` to `max`. */
bool fields_get_number(const struct fields *fields, const char *name, uint64_t min, uint64_t max,
                       uint64_t *ret_value, GError **error);
/* NULL with an error if it is missing, no base64, or longer than `max`. */
GBytes *fields_get_bytes(const struct fields *fields, const char *name, size_t max, GError **error);

size_t fields_count(const struct fields *fields);
const char *fields_name(const struct fields *fields, size_t index);

/* The bytes of docs/sealed-format.md: a count (2 bytes), then for each name and value a length (2
 * bytes each) and the bytes. */
void fields_append(const struct fields *fields, GByteArray *to);
/* Reads them from `*at` on, which is moved behind them; not past `end`. ERROR_INVALID_SECRET. */
struct fields *fields_parse(const uint8_t **at, const uint8_t *end, GError **error);

typedef struct fields fields_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(fields_t, fields_free)
