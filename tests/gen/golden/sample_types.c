/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the codec of the types of sample_types; every length is checked against its bound and
 * against what is left of the message before anything is allocated.
 *
 * Made by src/rpc/gen (docs/xdr.md) of tests/gen/sample_types.x: change those, not this file.
 */
#include "sample_types.h"

#include <string.h>

bool
sample_color_read(struct xdr_reader *reader, const char *what, enum sample_color *ret_value,
                  GError **error)
{
    int32_t number;

    if (!xdr_read_int32(reader, what, &number, error))
        return false;
    switch (number) {
    case SAMPLE_RED:
    case SAMPLE_GREEN:
    case SAMPLE_DARK:
        *ret_value = (enum sample_color)number;
        return true;
    default:
        return xdr_refuse_value(what, number, error);
    }
}

static bool
read_sample_point(struct xdr_reader *reader, struct sample_point *value, GError **error)
{
    if (!xdr_read_int32(reader, "sample_point.x", &value->x, error))
        return false;
    if (!xdr_read_int32(reader, "sample_point.y", &value->y, error))
        return false;
    return true;
}

bool
sample_point_decode(struct xdr_reader *reader, struct sample_point *ret_value, GError **error)
{
    if (read_sample_point(reader, ret_value, error))
        return true;
    sample_point_clear(ret_value);
    return false;
}

size_t
sample_point_encoded_size(const struct sample_point *value)
{
    return 8;
}

void
sample_point_encode(struct xdr_writer *writer, const struct sample_point *value)
{
    xdr_write_int32(writer, value->x);
    xdr_write_int32(writer, value->y);
}

void
sample_point_clear(struct sample_point *value)
{
    *value = (struct sample_point){0};
}

RPC_TYPE_DEFINE(sample_point);
