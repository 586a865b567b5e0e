/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the types of sample_types and their codec. *_decode takes a zeroed struct, and zeroes it
 * again on failure; *_clear frees what a struct holds, wipes @secret members and zeroes it. Strings
 * are never NULL unless optional; an optional member is NULL when absent.
 *
 * Made by src/rpc/gen (docs/xdr.md) of tests/gen/sample_types.x: change those, not this file.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/program.h"
#include "rpc/xdr.h"
#include "util/secret_buf.h"

#define SAMPLE_NAME_MAX 32
#define SAMPLE_BELOW    (-7)
#define SAMPLE_MASK     4026531840u

enum sample_color {
    SAMPLE_RED = 0,
    SAMPLE_GREEN = 5,
    SAMPLE_DARK = -7,
};

struct sample_point {
    int32_t x;
    int32_t y;
};

bool sample_color_read(struct xdr_reader *reader, const char *what, enum sample_color *ret_value,
                       GError **error);

bool sample_point_decode(struct xdr_reader *reader, struct sample_point *ret_value, GError **error);
size_t sample_point_encoded_size(const struct sample_point *value);
void sample_point_encode(struct xdr_writer *writer, const struct sample_point *value);
void sample_point_clear(struct sample_point *value);
extern const struct rpc_type sample_point_type;
