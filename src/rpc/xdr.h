/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the primitives of XDR (RFC 4506) that generated codecs are made of. A reader never passes
 * its end and a length is checked against its maximum and against what is left before anything is
 * allocated. A writer's buffer is sized beforehand from the generated _encoded_size functions, so
 * that it never grows: a reply with a key is written straight into secret memory.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/secret_buf.h"

/* How many structs may hold each other in a message, as in a linked list: decoding recurses. */
enum { XDR_DEPTH_MAX = 64 };

struct xdr_reader {
    const uint8_t *pos;
    const uint8_t *end;
    unsigned int depth; /* of structs that can hold themselves; 0 at first */
};

struct xdr_writer {
    uint8_t *pos;
    uint8_t *end; /* writing past it is a bug of ours and asserted */
};

/* Bytes that `len` bytes of opaque take with their padding. */
static inline size_t
xdr_padded(size_t len)
{
    return (len + 3) & ~(size_t)3;
}

/* Each sets `error` (ERROR_FROM_RPC, ERROR_RPC) naming `what` when input ends early or is out of
 * bounds, and leaves *ret_value alone then. Padding bytes are not required to be zero. */
bool xdr_read_uint32(struct xdr_reader *reader, const char *what, uint32_t *ret_value,
                     GError **error);
bool xdr_read_int32(struct xdr_reader *reader, const char *what, int32_t *ret_value,
                    GError **error);
bool xdr_read_uint64(struct xdr_reader *reader, const char *what, uint64_t *ret_value,
                     GError **error);
bool xdr_read_int64(struct xdr_reader *reader, const char *what, int64_t *ret_value,
                    GError **error);
bool xdr_read_double(struct xdr_reader *reader, const char *what, double *ret_value,
                     GError **error);
/* 0 or 1, else an error; also the flag before optional data. */
bool xdr_read_bool(struct xdr_reader *reader, const char *what, bool *ret_value, GError **error);
/* The count before a variable array: at most `max`, and that many times `min_element_size` bytes
 * (at least 1) must still be there. */
bool xdr_read_count(struct xdr_reader *reader, const char *what, uint32_t max,
                    size_t min_element_size, uint32_t *ret_count, GError **error);
bool xdr_read_opaque_fixed(struct xdr_reader *reader, const char *what, void *bytes, size_t len,
                           GError **error);
/* A new NUL-terminated copy; an embedded NUL is an error. */
bool xdr_read_string(struct xdr_reader *reader, const char *what, uint32_t max, char **ret_text,
                     GError **error);
bool xdr_read_opaque(struct xdr_reader *reader, const char *what, uint32_t max, uint8_t **ret_bytes,
                     uint32_t *ret_len, GError **error);
/* Straight from the frame into secret memory. */
bool xdr_read_secret(struct xdr_reader *reader, const char *what, uint32_t max,
                     struct secret_buf **ret_value, GError **error);

/* For an enum, a bool or the discriminant of a union: sets `error` and returns false. */
bool xdr_refuse_value(const char *what, int64_t value, GError **error);

/* Around the decoding of a struct that can hold itself; an error when it is too deep. */
bool xdr_enter(struct xdr_reader *reader, const char *what, GError **error);
void xdr_leave(struct xdr_reader *reader);

void xdr_write_uint32(struct xdr_writer *writer, uint32_t value);
void xdr_write_int32(struct xdr_writer *writer, int32_t value);
void xdr_write_uint64(struct xdr_writer *writer, uint64_t value);
void xdr_write_int64(struct xdr_writer *writer, int64_t value);
void xdr_write_double(struct xdr_writer *writer, double value);
void xdr_write_bool(struct xdr_writer *writer, bool value);
void xdr_write_opaque_fixed(struct xdr_writer *writer, const void *bytes, size_t len);
/* Length word, bytes, padding: for strings, opaque and secrets alike. */
void xdr_write_opaque(struct xdr_writer *writer, const void *bytes, size_t len);
