/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: UUID text and random UUIDs.
 */
#include "util/uuid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "util/error.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(uuid, "getrandom");

bool
uuid_parse(const char *text, struct uuid *ret_uuid)
{
    struct uuid uuid;
    size_t n = 0;

    while (g_ascii_isspace(*text))
        text++;
    while (n < sizeof(uuid.bytes)) {
        if (*text == '-' || *text == ' ') {
            text++;
            continue;
        }
        if (!g_ascii_isxdigit(text[0]) || !g_ascii_isxdigit(text[1]))
            return false;
        uuid.bytes[n++] =
            (uint8_t)(g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]));
        text += 2;
    }
    while (g_ascii_isspace(*text))
        text++;
    if (*text != '\0')
        return false;
    *ret_uuid = uuid;
    return true;
}

const char *
uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *out = text;

    for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[uuid->bytes[i] >> 4];
        *out++ = digits[uuid->bytes[i] & 15];
    }
    *out = '\0';
    return text;
}

bool
uuid_generate_random(struct uuid *ret_uuid, GError **error)
{
    struct uuid uuid;

    if (getrandom(uuid.bytes, sizeof(uuid.bytes), 0) != (ssize_t)sizeof(uuid.bytes)) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot get random bytes for a UUID");
        return false;
    }
    uuid.bytes[6] = (uuid.bytes[6] & 0x0f) | 0x40;
    uuid.bytes[8] = (uuid.bytes[8] & 0x3f) | 0x80;
    *ret_uuid = uuid;
    return true;
}

bool
uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

int
uuid_compare(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

guint
uuid_hash_key(gconstpointer key)
{
    guint words[4];

    /* UUIDs may come from a client, so mix all of it; GHashTable takes the result modulo a prime.
     */
    memcpy(words, key, sizeof(words));
    return words[0] ^ words[1] * 31u ^ words[2] * 131u ^ words[3] * 1313u;
}

gboolean
uuid_equal_key(gconstpointer a, gconstpointer b)
{
    return uuid_equal(a, b);
}

int
uuid_compare_key(gconstpointer a, gconstpointer b)
{
    return uuid_compare(a, b);
}
