/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: base64 of key bytes. Characters are mapped by arithmetic, not by a table, so that the cache
 * shows nothing about them.
 */
#include "util/base64.h"

#include "util/error.h"

/* 0xff if low <= c <= high, else 0. */
static uint8_t
in_range(int c, int low, int high)
{
    return (uint8_t)(((low - 1 - c) & (c - high - 1)) >> 8);
}

/* 0..63, or -1 if `c` is outside the alphabet. */
static int
decode_char(int c)
{
    int value = 0;

    value |= in_range(c, 'A', 'Z') & (c - 'A');
    value |= in_range(c, 'a', 'z') & (c - 'a' + 26);
    value |= in_range(c, '0', '9') & (c - '0' + 52);
    value |= in_range(c, '+', '+') & 62;
    value |= in_range(c, '/', '/') & 63;
    if (!(in_range(c, 'A', 'Z') | in_range(c, 'a', 'z') | in_range(c, '0', '9') |
          in_range(c, '+', '+') | in_range(c, '/', '/')))
        return -1;
    return value;
}

static uint8_t
encode_char(int value)
{
    int c = 0;

    c |= in_range(value, 0, 25) & (value + 'A');
    c |= in_range(value, 26, 51) & (value - 26 + 'a');
    c |= in_range(value, 52, 61) & (value - 52 + '0');
    c |= in_range(value, 62, 62) & '+';
    c |= in_range(value, 63, 63) & '/';
    return (uint8_t)c;
}

/* The number of characters before padding and closing white space, or -1 if the shape is wrong. */
static ssize_t
measure_text(const uint8_t *text, size_t len)
{
    size_t padding = 0;

    while (len > 0 && g_ascii_isspace(text[len - 1]))
        len--;
    if (len % 4 != 0)
        return -1;
    while (padding < 2 && len > 0 && text[len - 1] == '=') {
        padding++;
        len--;
    }
    return (ssize_t)len;
}

static void
set_malformed(GError **error)
{
    error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG, "the value is not valid base64");
}

struct secret_buf *
base64_decode_secret(const struct secret_buf *text, GError **error)
{
    const uint8_t *in = secret_buf_bytes(text);
    ssize_t len = measure_text(in, secret_buf_len(text));
    g_autoptr(secret_buf_t) value = NULL;
    uint32_t bits = 0;
    size_t filled = 0;

    if (len < 0 || len % 4 == 1) {
        set_malformed(error);
        return NULL;
    }
    value = secret_buf_new((size_t)len * 3 / 4, error);
    if (!value)
        return NULL;
    for (ssize_t i = 0; i < len; i++) {
        int six = decode_char(in[i]);

        if (six < 0) {
            set_malformed(error);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)six;
        if (i % 4 != 0)
            secret_buf_writable(value)[filled++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return g_steal_pointer(&value);
}

struct secret_buf *
base64_encode_secret(const struct secret_buf *value, GError **error)
{
    size_t len = secret_buf_len(value);
    const uint8_t *in = secret_buf_bytes(value);
    struct secret_buf *text = secret_buf_new((len + 2) / 3 * 4, error);
    uint8_t *out;

    if (!text)
        return NULL;
    out = secret_buf_writable(text);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)in[i] << 16;

        bits |= i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0;
        bits |= i + 2 < len ? in[i + 2] : 0;
        *out++ = encode_char((int)(bits >> 18 & 63));
        *out++ = encode_char((int)(bits >> 12 & 63));
        *out++ = i + 1 < len ? encode_char((int)(bits >> 6 & 63)) : '=';
        *out++ = i + 2 < len ? encode_char((int)(bits & 63)) : '=';
    }
    return text;
}
