/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: RFC 4122 UUIDs as libvirt reads and writes them.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { UUID_TEXT_SIZE = 37 }; /* with the closing NUL */

struct uuid {
    uint8_t bytes[16];
};

/* Reads 32 hexadecimal digits of either case with '-' or ' ' between pairs and white space around
 * them, as libvirt does. False (no error set: the caller names the object) if it is anything else.
 */
bool uuid_parse(const char *text, struct uuid *ret_uuid);

/* Writes lower case 8-4-4-4-12 and returns `text`. */
const char *uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE]);

/* A random (version 4) UUID. */
bool uuid_generate_random(struct uuid *ret_uuid, GError **error);

bool uuid_equal(const struct uuid *a, const struct uuid *b);
/* Below, equal to or above 0, as memcmp. */
int uuid_compare(const struct uuid *a, const struct uuid *b);

/* For GHashTable: keys are `const struct uuid *`. */
guint uuid_hash_key(gconstpointer key);
gboolean uuid_equal_key(gconstpointer a, gconstpointer b);
/* For g_array_sort and bsearch, of arrays of struct uuid. */
int uuid_compare_key(gconstpointer a, gconstpointer b);
