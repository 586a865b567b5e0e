/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading and writing the primitives of XDR. Reading a length or a count ends in one place
 * each, so that nothing is allocated for bytes that are not there.
 */
#include "rpc/xdr.h"

#include <string.h>

#include "util/error.h"

static size_t
left_in(const struct xdr_reader *reader)
{
    return (size_t)(reader->end - reader->pos);
}

static bool
require(const struct xdr_reader *reader, const char *what, size_t len, GError **error)
{
    if (len <= left_in(reader))
        return true;
    error_set(error, ERROR_FROM_RPC, ERROR_RPC,
              "%s: the message ends early: %zu bytes are needed and %zu are left", what, len,
              left_in(reader));
    return false;
}

static uint32_t
take_word(struct xdr_reader *reader)
{
    uint32_t word;

    memcpy(&word, reader->pos, sizeof(word));
    reader->pos += sizeof(word);
    return GUINT32_FROM_BE(word);
}

/* ---- numbers ---- */

bool
xdr_read_uint32(struct xdr_reader *reader, const char *what, uint32_t *ret_value, GError **error)
{
    if (!require(reader, what, sizeof(*ret_value), error))
        return false;
    *ret_value = take_word(reader);
    return true;
}

bool
xdr_read_int32(struct xdr_reader *reader, const char *what, int32_t *ret_value, GError **error)
{
    if (!require(reader, what, sizeof(*ret_value), error))
        return false;
    *ret_value = (int32_t)take_word(reader);
    return true;
}

bool
xdr_read_uint64(struct xdr_reader *reader, const char *what, uint64_t *ret_value, GError **error)
{
    uint64_t high;

    if (!require(reader, what, sizeof(*ret_value), error))
        return false;
    high = take_word(reader);
    *ret_value = high << 32 | take_word(reader);
    return true;
}

bool
xdr_read_int64(struct xdr_reader *reader, const char *what, int64_t *ret_value, GError **error)
{
    uint64_t value;

    if (!xdr_read_uint64(reader, what, &value, error))
        return false;
    *ret_value = (int64_t)value;
    return true;
}

/* Both sides use the binary64 format of IEEE 754, which is that of XDR but for the order. */
G_STATIC_ASSERT(sizeof(double) == sizeof(uint64_t));

bool
xdr_read_double(struct xdr_reader *reader, const char *what, double *ret_value, GError **error)
{
    uint64_t bits;

    if (!xdr_read_uint64(reader, what, &bits, error))
        return false;
    memcpy(ret_value, &bits, sizeof(bits));
    return true;
}

bool
xdr_read_bool(struct xdr_reader *reader, const char *what, bool *ret_value, GError **error)
{
    uint32_t word;

    if (!xdr_read_uint32(reader, what, &word, error))
        return false;
    if (word > 1)
        return xdr_refuse_value(what, word, error);
    *ret_value = word == 1;
    return true;
}

bool
xdr_refuse_value(const char *what, int64_t value, GError **error)
{
    error_set(error, ERROR_FROM_RPC, ERROR_RPC,
              "%s: %" G_GINT64_FORMAT " is none of the values that are allowed", what, value);
    return false;
}

/* ---- lengths ---- */

bool
xdr_read_count(struct xdr_reader *reader, const char *what, uint32_t max, size_t min_element_size,
               uint32_t *ret_count, GError **error)
{
    uint32_t count;

    if (!xdr_read_uint32(reader, what, &count, error))
        return false;
    if (count > max) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "%s: %u is above the maximum of %u", what,
                  count, max);
        return false;
    }
    if (count > left_in(reader) / min_element_size) {
        error_set(
            error, ERROR_FROM_RPC, ERROR_RPC,
            "%s: the message ends early: %u of at least %zu bytes are announced and %zu bytes "
            "are left",
            what, count, min_element_size, left_in(reader));
        return false;
    }
    *ret_count = count;
    return true;
}

/* The length before `*ret_bytes`, which are there together with their padding and are passed. */
static bool
read_bytes(struct xdr_reader *reader, const char *what, uint32_t max, const uint8_t **ret_bytes,
           uint32_t *ret_len, GError **error)
{
    struct xdr_reader ahead = *reader;
    uint32_t len;

    if (!xdr_read_count(&ahead, what, max, 1, &len, error) ||
        !require(&ahead, what, xdr_padded(len), error))
        return false;
    *ret_bytes = ahead.pos;
    *ret_len = len;
    reader->pos = ahead.pos + xdr_padded(len);
    return true;
}

bool
xdr_read_opaque_fixed(struct xdr_reader *reader, const char *what, void *bytes, size_t len,
                      GError **error)
{
    if (!require(reader, what, xdr_padded(len), error))
        return false;
    memcpy(bytes, reader->pos, len);
    reader->pos += xdr_padded(len);
    return true;
}

bool
xdr_read_string(struct xdr_reader *reader, const char *what, uint32_t max, char **ret_text,
                GError **error)
{
    const uint8_t *bytes;
    uint32_t len;

    if (!read_bytes(reader, what, max, &bytes, &len, error))
        return false;
    if (memchr(bytes, '\0', len)) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "%s: the text holds a NUL byte", what);
        return false;
    }
    *ret_text = g_strndup((const char *)bytes, len);
    return true;
}

bool
xdr_read_opaque(struct xdr_reader *reader, const char *what, uint32_t max, uint8_t **ret_bytes,
                uint32_t *ret_len, GError **error)
{
    const uint8_t *bytes;

    if (!read_bytes(reader, what, max, &bytes, ret_len, error))
        return false;
    *ret_bytes = g_memdup2(bytes, *ret_len);
    return true;
}

bool
xdr_read_secret(struct xdr_reader *reader, const char *what, uint32_t max,
                struct secret_buf **ret_value, GError **error)
{
    const uint8_t *bytes;
    uint32_t len;
    struct secret_buf *value;

    if (!read_bytes(reader, what, max, &bytes, &len, error))
        return false;
    value = secret_buf_new_from(bytes, len, error);
    if (!value) {
        g_prefix_error(error, "%s: ", what);
        return false;
    }
    *ret_value = value;
    return true;
}

/* ---- depth ---- */

bool
xdr_enter(struct xdr_reader *reader, const char *what, GError **error)
{
    if (reader->depth >= XDR_DEPTH_MAX) {
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "%s: more than %d of them hold each other",
                  what, XDR_DEPTH_MAX);
        return false;
    }
    reader->depth++;
    return true;
}

void
xdr_leave(struct xdr_reader *reader)
{
    g_assert(reader->depth > 0);
    reader->depth--;
}

/* ---- writing ---- */

static uint8_t *
reserve(struct xdr_writer *writer, size_t len)
{
    uint8_t *place = writer->pos;

    g_assert(len <= (size_t)(writer->end - writer->pos));
    writer->pos += len;
    return place;
}

void
xdr_write_uint32(struct xdr_writer *writer, uint32_t value)
{
    uint32_t word = GUINT32_TO_BE(value);

    memcpy(reserve(writer, sizeof(word)), &word, sizeof(word));
}

void
xdr_write_int32(struct xdr_writer *writer, int32_t value)
{
    xdr_write_uint32(writer, (uint32_t)value);
}

void
xdr_write_uint64(struct xdr_writer *writer, uint64_t value)
{
    uint64_t word = GUINT64_TO_BE(value);

    memcpy(reserve(writer, sizeof(word)), &word, sizeof(word));
}

void
xdr_write_int64(struct xdr_writer *writer, int64_t value)
{
    xdr_write_uint64(writer, (uint64_t)value);
}

void
xdr_write_double(struct xdr_writer *writer, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    xdr_write_uint64(writer, bits);
}

void
xdr_write_bool(struct xdr_writer *writer, bool value)
{
    xdr_write_uint32(writer, value ? 1 : 0);
}

void
xdr_write_opaque_fixed(struct xdr_writer *writer, const void *bytes, size_t len)
{
    uint8_t *place = reserve(writer, xdr_padded(len));

    if (len > 0)
        memcpy(place, bytes, len);
    memset(place + len, 0, xdr_padded(len) - len);
}

void
xdr_write_opaque(struct xdr_writer *writer, const void *bytes, size_t len)
{
    g_assert(len <= UINT32_MAX);
    xdr_write_uint32(writer, (uint32_t)len);
    xdr_write_opaque_fixed(writer, bytes, len);
}
