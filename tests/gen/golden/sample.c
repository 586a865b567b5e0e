/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the codec of the types of sample; every length is checked against its bound and against
 * what is left of the message before anything is allocated. Owns too: the table of procedures, with
 * what the protocol allows to whom.
 *
 * Made by src/rpc/gen (docs/xdr.md) of tests/gen/sample.x, tests/gen/sample_types.x: change those,
 * not this file.
 */
#include "sample.h"

#include <string.h>

#include "sample_server.h"

static bool
read_sample_scalars(struct xdr_reader *reader, struct sample_scalars *value, GError **error)
{
    if (!xdr_read_int32(reader, "sample_scalars.i", &value->i, error))
        return false;
    if (!xdr_read_uint32(reader, "sample_scalars.u", &value->u, error))
        return false;
    if (!xdr_read_int64(reader, "sample_scalars.h", &value->h, error))
        return false;
    if (!xdr_read_uint64(reader, "sample_scalars.uh", &value->uh, error))
        return false;
    if (!xdr_read_double(reader, "sample_scalars.d", &value->d, error))
        return false;
    if (!xdr_read_bool(reader, "sample_scalars.b", &value->b, error))
        return false;
    if (!sample_color_read(reader, "sample_scalars.color", &value->color, error))
        return false;
    return true;
}

bool
sample_scalars_decode(struct xdr_reader *reader, struct sample_scalars *ret_value, GError **error)
{
    if (read_sample_scalars(reader, ret_value, error))
        return true;
    sample_scalars_clear(ret_value);
    return false;
}

size_t
sample_scalars_encoded_size(const struct sample_scalars *value)
{
    return 40;
}

void
sample_scalars_encode(struct xdr_writer *writer, const struct sample_scalars *value)
{
    xdr_write_int32(writer, value->i);
    xdr_write_uint32(writer, value->u);
    xdr_write_int64(writer, value->h);
    xdr_write_uint64(writer, value->uh);
    xdr_write_double(writer, value->d);
    xdr_write_bool(writer, value->b);
    xdr_write_int32(writer, (int32_t)value->color);
}

void
sample_scalars_clear(struct sample_scalars *value)
{
    *value = (struct sample_scalars){0};
}

RPC_TYPE_DEFINE(sample_scalars);

static bool
read_sample_list(struct xdr_reader *reader, struct sample_list *value, GError **error)
{
    bool is_present;

    if (!sample_scalars_decode(reader, &value->first, error))
        return false;
    if (!xdr_read_bool(reader, "sample_list.next", &is_present, error))
        return false;
    if (is_present) {
        value->next = g_new0(struct sample_list, 1);
        if (!sample_list_decode(reader, value->next, error))
            return false;
    }
    return true;
}

bool
sample_list_decode(struct xdr_reader *reader, struct sample_list *ret_value, GError **error)
{
    bool is_read;

    if (!xdr_enter(reader, "sample_list", error))
        return false;
    is_read = read_sample_list(reader, ret_value, error);
    xdr_leave(reader);
    if (is_read)
        return true;
    sample_list_clear(ret_value);
    return false;
}

size_t
sample_list_encoded_size(const struct sample_list *value)
{
    size_t size = 44;

    if (value->next)
        size += sample_list_encoded_size(value->next);
    return size;
}

void
sample_list_encode(struct xdr_writer *writer, const struct sample_list *value)
{
    sample_scalars_encode(writer, &value->first);
    xdr_write_bool(writer, value->next != NULL);
    if (value->next)
        sample_list_encode(writer, value->next);
}

void
sample_list_clear(struct sample_list *value)
{
    if (value->next)
        sample_list_clear(value->next);
    g_free(value->next);
    *value = (struct sample_list){0};
}

RPC_TYPE_DEFINE(sample_list);

static bool
read_sample_bytes(struct xdr_reader *reader, struct sample_bytes *value, GError **error)
{
    bool is_present;

    if (!xdr_read_opaque_fixed(reader, "sample_bytes.fixed", value->fixed, 7, error))
        return false;
    if (!xdr_read_opaque(reader, "sample_bytes.some", 9, &value->some, &value->some_len, error))
        return false;
    if (!xdr_read_opaque_fixed(reader, "sample_bytes.digest", value->digest, 5, error))
        return false;
    if (!xdr_read_secret(reader, "sample_bytes.key", 64, &value->key, error))
        return false;
    if (!xdr_read_string(reader, "sample_bytes.text", SAMPLE_NAME_MAX, &value->text, error))
        return false;
    if (!xdr_read_bool(reader, "sample_bytes.name", &is_present, error))
        return false;
    if (is_present) {
        if (!xdr_read_string(reader, "sample_bytes.name", SAMPLE_NAME_MAX, &value->name, error))
            return false;
    }
    return true;
}

bool
sample_bytes_decode(struct xdr_reader *reader, struct sample_bytes *ret_value, GError **error)
{
    if (read_sample_bytes(reader, ret_value, error))
        return true;
    sample_bytes_clear(ret_value);
    return false;
}

size_t
sample_bytes_encoded_size(const struct sample_bytes *value)
{
    size_t size = 32;

    size += xdr_padded(value->some_len);
    size += xdr_padded(secret_buf_len(value->key));
    size += xdr_padded(strlen(value->text));
    if (value->name)
        size += 4 + xdr_padded(strlen(value->name));
    return size;
}

void
sample_bytes_encode(struct xdr_writer *writer, const struct sample_bytes *value)
{
    xdr_write_opaque_fixed(writer, value->fixed, 7);
    xdr_write_opaque(writer, value->some, value->some_len);
    xdr_write_opaque_fixed(writer, value->digest, 5);
    xdr_write_opaque(writer, secret_buf_bytes(value->key), secret_buf_len(value->key));
    xdr_write_opaque(writer, value->text, strlen(value->text));
    xdr_write_bool(writer, value->name != NULL);
    if (value->name)
        xdr_write_opaque(writer, value->name, strlen(value->name));
}

void
sample_bytes_clear(struct sample_bytes *value)
{
    g_free(value->some);
    secret_buf_free(value->key);
    g_free(value->text);
    g_free(value->name);
    *value = (struct sample_bytes){0};
}

RPC_TYPE_DEFINE(sample_bytes);

static bool
read_sample_arrays(struct xdr_reader *reader, struct sample_arrays *value, GError **error)
{
    bool is_present;

    for (uint32_t i = 0; i < 3; i++) {
        if (!xdr_read_int32(reader, "sample_arrays.numbers", &value->numbers[i], error))
            return false;
    }
    if (!xdr_read_count(reader, "sample_arrays.longs", 4, 8, &value->longs_len, error))
        return false;
    value->longs = g_new0(int64_t, value->longs_len);
    for (uint32_t i = 0; i < value->longs_len; i++) {
        if (!xdr_read_int64(reader, "sample_arrays.longs", &value->longs[i], error))
            return false;
    }
    if (!xdr_read_count(reader, "sample_arrays.colors", 4, 4, &value->colors_len, error))
        return false;
    value->colors = g_new0(enum sample_color, value->colors_len);
    for (uint32_t i = 0; i < value->colors_len; i++) {
        if (!sample_color_read(reader, "sample_arrays.colors", &value->colors[i], error))
            return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (!sample_color_read(reader, "sample_arrays.pair", &value->pair[i], error))
            return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (!sample_point_decode(reader, &value->points[i], error))
            return false;
    }
    if (!xdr_read_count(reader, "sample_arrays.lists", 3, 44, &value->lists_len, error))
        return false;
    value->lists = g_new0(struct sample_list, value->lists_len);
    for (uint32_t i = 0; i < value->lists_len; i++) {
        if (!sample_list_decode(reader, &value->lists[i], error))
            return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (!xdr_read_string(reader, "sample_arrays.names", SAMPLE_NAME_MAX, &value->names[i],
                             error))
            return false;
    }
    if (!xdr_read_count(reader, "sample_arrays.more_names", 3, 4, &value->more_names_len, error))
        return false;
    value->more_names = g_new0(char *, value->more_names_len);
    for (uint32_t i = 0; i < value->more_names_len; i++) {
        if (!xdr_read_string(reader, "sample_arrays.more_names", SAMPLE_NAME_MAX,
                             &value->more_names[i], error))
            return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (!xdr_read_opaque_fixed(reader, "sample_arrays.digests", value->digests[i], 5, error))
            return false;
    }
    if (!xdr_read_count(reader, "sample_arrays.more_digests", 3, 8, &value->more_digests_len,
                        error))
        return false;
    value->more_digests = g_malloc0_n(value->more_digests_len, sizeof(*value->more_digests));
    for (uint32_t i = 0; i < value->more_digests_len; i++) {
        if (!xdr_read_opaque_fixed(reader, "sample_arrays.more_digests", value->more_digests[i], 5,
                                   error))
            return false;
    }
    if (!xdr_read_count(reader, "sample_arrays.maybe_names", 3, 4, &value->maybe_names_len, error))
        return false;
    value->maybe_names = g_new0(char *, value->maybe_names_len);
    for (uint32_t i = 0; i < value->maybe_names_len; i++) {
        if (!xdr_read_bool(reader, "sample_arrays.maybe_names", &is_present, error))
            return false;
        if (is_present) {
            if (!xdr_read_string(reader, "sample_arrays.maybe_names", SAMPLE_NAME_MAX,
                                 &value->maybe_names[i], error))
                return false;
        }
    }
    return true;
}

bool
sample_arrays_decode(struct xdr_reader *reader, struct sample_arrays *ret_value, GError **error)
{
    if (read_sample_arrays(reader, ret_value, error))
        return true;
    sample_arrays_clear(ret_value);
    return false;
}

size_t
sample_arrays_encoded_size(const struct sample_arrays *value)
{
    size_t size = 84;

    size += (size_t)value->longs_len * 8;
    size += (size_t)value->colors_len * 4;
    for (uint32_t i = 0; i < value->lists_len; i++)
        size += sample_list_encoded_size(&value->lists[i]);
    for (uint32_t i = 0; i < 2; i++)
        size += xdr_padded(strlen(value->names[i]));
    for (uint32_t i = 0; i < value->more_names_len; i++)
        size += 4 + xdr_padded(strlen(value->more_names[i]));
    size += (size_t)value->more_digests_len * 8;
    for (uint32_t i = 0; i < value->maybe_names_len; i++) {
        size += 4;
        if (value->maybe_names[i])
            size += 4 + xdr_padded(strlen(value->maybe_names[i]));
    }
    return size;
}

void
sample_arrays_encode(struct xdr_writer *writer, const struct sample_arrays *value)
{
    for (uint32_t i = 0; i < 3; i++)
        xdr_write_int32(writer, value->numbers[i]);
    xdr_write_uint32(writer, value->longs_len);
    for (uint32_t i = 0; i < value->longs_len; i++)
        xdr_write_int64(writer, value->longs[i]);
    xdr_write_uint32(writer, value->colors_len);
    for (uint32_t i = 0; i < value->colors_len; i++)
        xdr_write_int32(writer, (int32_t)value->colors[i]);
    for (uint32_t i = 0; i < 2; i++)
        xdr_write_int32(writer, (int32_t)value->pair[i]);
    for (uint32_t i = 0; i < 2; i++)
        sample_point_encode(writer, &value->points[i]);
    xdr_write_uint32(writer, value->lists_len);
    for (uint32_t i = 0; i < value->lists_len; i++)
        sample_list_encode(writer, &value->lists[i]);
    for (uint32_t i = 0; i < 2; i++)
        xdr_write_opaque(writer, value->names[i], strlen(value->names[i]));
    xdr_write_uint32(writer, value->more_names_len);
    for (uint32_t i = 0; i < value->more_names_len; i++)
        xdr_write_opaque(writer, value->more_names[i], strlen(value->more_names[i]));
    for (uint32_t i = 0; i < 2; i++)
        xdr_write_opaque_fixed(writer, value->digests[i], 5);
    xdr_write_uint32(writer, value->more_digests_len);
    for (uint32_t i = 0; i < value->more_digests_len; i++)
        xdr_write_opaque_fixed(writer, value->more_digests[i], 5);
    xdr_write_uint32(writer, value->maybe_names_len);
    for (uint32_t i = 0; i < value->maybe_names_len; i++) {
        xdr_write_bool(writer, value->maybe_names[i] != NULL);
        if (value->maybe_names[i])
            xdr_write_opaque(writer, value->maybe_names[i], strlen(value->maybe_names[i]));
    }
}

void
sample_arrays_clear(struct sample_arrays *value)
{
    g_free(value->longs);
    g_free(value->colors);
    for (uint32_t i = 0; i < value->lists_len; i++)
        sample_list_clear(&value->lists[i]);
    g_free(value->lists);
    for (uint32_t i = 0; i < 2; i++)
        g_free(value->names[i]);
    for (uint32_t i = 0; i < value->more_names_len; i++)
        g_free(value->more_names[i]);
    g_free(value->more_names);
    g_free(value->more_digests);
    for (uint32_t i = 0; i < value->maybe_names_len; i++)
        g_free(value->maybe_names[i]);
    g_free(value->maybe_names);
    *value = (struct sample_arrays){0};
}

RPC_TYPE_DEFINE(sample_arrays);

static bool
read_sample_optionals(struct xdr_reader *reader, struct sample_optionals *value, GError **error)
{
    bool is_present;

    if (!xdr_read_bool(reader, "sample_optionals.number", &is_present, error))
        return false;
    if (is_present) {
        value->number = g_new0(int32_t, 1);
        if (!xdr_read_int32(reader, "sample_optionals.number", value->number, error))
            return false;
    }
    if (!xdr_read_bool(reader, "sample_optionals.color", &is_present, error))
        return false;
    if (is_present) {
        value->color = g_new0(enum sample_color, 1);
        if (!sample_color_read(reader, "sample_optionals.color", value->color, error))
            return false;
    }
    if (!xdr_read_bool(reader, "sample_optionals.flag", &is_present, error))
        return false;
    if (is_present) {
        value->flag = g_new0(bool, 1);
        if (!xdr_read_bool(reader, "sample_optionals.flag", value->flag, error))
            return false;
    }
    if (!xdr_read_bool(reader, "sample_optionals.point", &is_present, error))
        return false;
    if (is_present) {
        value->point = g_new0(struct sample_point, 1);
        if (!sample_point_decode(reader, value->point, error))
            return false;
    }
    if (!xdr_read_bool(reader, "sample_optionals.bytes", &is_present, error))
        return false;
    if (is_present) {
        value->bytes = g_new0(struct sample_bytes, 1);
        if (!sample_bytes_decode(reader, value->bytes, error))
            return false;
    }
    if (!xdr_read_bool(reader, "sample_optionals.digest", &is_present, error))
        return false;
    if (is_present) {
        value->digest = g_malloc0(5);
        if (!xdr_read_opaque_fixed(reader, "sample_optionals.digest", value->digest, 5, error))
            return false;
    }
    if (!xdr_read_bool(reader, "sample_optionals.choice", &is_present, error))
        return false;
    if (is_present) {
        value->choice = g_new0(struct sample_choice, 1);
        if (!sample_choice_decode(reader, value->choice, error))
            return false;
    }
    return true;
}

bool
sample_optionals_decode(struct xdr_reader *reader, struct sample_optionals *ret_value,
                        GError **error)
{
    if (read_sample_optionals(reader, ret_value, error))
        return true;
    sample_optionals_clear(ret_value);
    return false;
}

size_t
sample_optionals_encoded_size(const struct sample_optionals *value)
{
    size_t size = 28;

    if (value->number)
        size += 4;
    if (value->color)
        size += 4;
    if (value->flag)
        size += 4;
    if (value->point)
        size += 8;
    if (value->bytes)
        size += sample_bytes_encoded_size(value->bytes);
    if (value->digest)
        size += 8;
    if (value->choice)
        size += sample_choice_encoded_size(value->choice);
    return size;
}

void
sample_optionals_encode(struct xdr_writer *writer, const struct sample_optionals *value)
{
    xdr_write_bool(writer, value->number != NULL);
    if (value->number)
        xdr_write_int32(writer, *value->number);
    xdr_write_bool(writer, value->color != NULL);
    if (value->color)
        xdr_write_int32(writer, (int32_t)*value->color);
    xdr_write_bool(writer, value->flag != NULL);
    if (value->flag)
        xdr_write_bool(writer, *value->flag);
    xdr_write_bool(writer, value->point != NULL);
    if (value->point)
        sample_point_encode(writer, value->point);
    xdr_write_bool(writer, value->bytes != NULL);
    if (value->bytes)
        sample_bytes_encode(writer, value->bytes);
    xdr_write_bool(writer, value->digest != NULL);
    if (value->digest)
        xdr_write_opaque_fixed(writer, value->digest, 5);
    xdr_write_bool(writer, value->choice != NULL);
    if (value->choice)
        sample_choice_encode(writer, value->choice);
}

void
sample_optionals_clear(struct sample_optionals *value)
{
    g_free(value->number);
    g_free(value->color);
    g_free(value->flag);
    g_free(value->point);
    if (value->bytes)
        sample_bytes_clear(value->bytes);
    g_free(value->bytes);
    g_free(value->digest);
    if (value->choice)
        sample_choice_clear(value->choice);
    g_free(value->choice);
    *value = (struct sample_optionals){0};
}

RPC_TYPE_DEFINE(sample_optionals);

static bool
read_sample_choice(struct xdr_reader *reader, struct sample_choice *value, GError **error)
{
    if (!sample_color_read(reader, "sample_choice.color", &value->color, error))
        return false;
    switch (value->color) {
    case SAMPLE_RED:
    case SAMPLE_DARK:
        if (!xdr_read_int32(reader, "sample_choice.number", &value->u.number, error))
            return false;
        break;
    case SAMPLE_GREEN:
        if (!xdr_read_opaque(reader, "sample_choice.bytes", 8, &value->u.bytes, &value->u.bytes_len,
                             error))
            return false;
        break;
    default:
        return xdr_refuse_value("sample_choice.color", value->color, error);
    }
    return true;
}

bool
sample_choice_decode(struct xdr_reader *reader, struct sample_choice *ret_value, GError **error)
{
    if (read_sample_choice(reader, ret_value, error))
        return true;
    sample_choice_clear(ret_value);
    return false;
}

size_t
sample_choice_encoded_size(const struct sample_choice *value)
{
    size_t size = 4;

    switch (value->color) {
    case SAMPLE_RED:
    case SAMPLE_DARK:
        size += 4;
        break;
    case SAMPLE_GREEN:
        size += 4 + xdr_padded(value->u.bytes_len);
        break;
    default:
        g_assert_not_reached();
    }
    return size;
}

void
sample_choice_encode(struct xdr_writer *writer, const struct sample_choice *value)
{
    xdr_write_int32(writer, (int32_t)value->color);
    switch (value->color) {
    case SAMPLE_RED:
    case SAMPLE_DARK:
        xdr_write_int32(writer, value->u.number);
        break;
    case SAMPLE_GREEN:
        xdr_write_opaque(writer, value->u.bytes, value->u.bytes_len);
        break;
    default:
        g_assert_not_reached();
    }
}

void
sample_choice_clear(struct sample_choice *value)
{
    if (value->color == SAMPLE_GREEN)
        g_free(value->u.bytes);
    *value = (struct sample_choice){0};
}

RPC_TYPE_DEFINE(sample_choice);

static bool
read_sample_open(struct xdr_reader *reader, struct sample_open *value, GError **error)
{
    if (!xdr_read_int32(reader, "sample_open.kind", &value->kind, error))
        return false;
    switch (value->kind) {
    case 1:
        if (!xdr_read_string(reader, "sample_open.name", SAMPLE_NAME_MAX, &value->u.name, error))
            return false;
        break;
    case SAMPLE_BELOW:
        if (!xdr_read_count(reader, "sample_open.nested", 2, 4, &value->u.nested_len, error))
            return false;
        value->u.nested = g_new0(struct sample_open, value->u.nested_len);
        for (uint32_t i = 0; i < value->u.nested_len; i++) {
            if (!sample_open_decode(reader, &value->u.nested[i], error))
                return false;
        }
        break;
    case 3:
        break;
    default:
        if (!sample_point_decode(reader, &value->u.point, error))
            return false;
        break;
    }
    return true;
}

bool
sample_open_decode(struct xdr_reader *reader, struct sample_open *ret_value, GError **error)
{
    bool is_read;

    if (!xdr_enter(reader, "sample_open", error))
        return false;
    is_read = read_sample_open(reader, ret_value, error);
    xdr_leave(reader);
    if (is_read)
        return true;
    sample_open_clear(ret_value);
    return false;
}

size_t
sample_open_encoded_size(const struct sample_open *value)
{
    size_t size = 4;

    switch (value->kind) {
    case 1:
        size += 4 + xdr_padded(strlen(value->u.name));
        break;
    case SAMPLE_BELOW:
        size += 4;
        for (uint32_t i = 0; i < value->u.nested_len; i++)
            size += sample_open_encoded_size(&value->u.nested[i]);
        break;
    case 3:
        break;
    default:
        size += 8;
        break;
    }
    return size;
}

void
sample_open_encode(struct xdr_writer *writer, const struct sample_open *value)
{
    xdr_write_int32(writer, value->kind);
    switch (value->kind) {
    case 1:
        xdr_write_opaque(writer, value->u.name, strlen(value->u.name));
        break;
    case SAMPLE_BELOW:
        xdr_write_uint32(writer, value->u.nested_len);
        for (uint32_t i = 0; i < value->u.nested_len; i++)
            sample_open_encode(writer, &value->u.nested[i]);
        break;
    case 3:
        break;
    default:
        sample_point_encode(writer, &value->u.point);
        break;
    }
}

void
sample_open_clear(struct sample_open *value)
{
    switch (value->kind) {
    case 1:
        g_free(value->u.name);
        break;
    case SAMPLE_BELOW:
        for (uint32_t i = 0; i < value->u.nested_len; i++)
            sample_open_clear(&value->u.nested[i]);
        g_free(value->u.nested);
        break;
    case 3:
    default:
        break;
    }
    *value = (struct sample_open){0};
}

RPC_TYPE_DEFINE(sample_open);

static bool
read_sample_maybe(struct xdr_reader *reader, struct sample_maybe *value, GError **error)
{
    if (!xdr_read_bool(reader, "sample_maybe.is_there", &value->is_there, error))
        return false;
    switch ((int)value->is_there) {
    case 1:
        if (!xdr_read_secret(reader, "sample_maybe.key", 16, &value->u.key, error))
            return false;
        break;
    case 0:
        break;
    default:
        return xdr_refuse_value("sample_maybe.is_there", value->is_there, error);
    }
    return true;
}

bool
sample_maybe_decode(struct xdr_reader *reader, struct sample_maybe *ret_value, GError **error)
{
    if (read_sample_maybe(reader, ret_value, error))
        return true;
    sample_maybe_clear(ret_value);
    return false;
}

size_t
sample_maybe_encoded_size(const struct sample_maybe *value)
{
    size_t size = 4;

    switch ((int)value->is_there) {
    case 1:
        size += 4 + xdr_padded(secret_buf_len(value->u.key));
        break;
    case 0:
        break;
    default:
        g_assert_not_reached();
    }
    return size;
}

void
sample_maybe_encode(struct xdr_writer *writer, const struct sample_maybe *value)
{
    xdr_write_bool(writer, value->is_there);
    switch ((int)value->is_there) {
    case 1:
        xdr_write_opaque(writer, secret_buf_bytes(value->u.key), secret_buf_len(value->u.key));
        break;
    case 0:
        break;
    default:
        g_assert_not_reached();
    }
}

void
sample_maybe_clear(struct sample_maybe *value)
{
    if (value->is_there)
        secret_buf_free(value->u.key);
    *value = (struct sample_maybe){0};
}

RPC_TYPE_DEFINE(sample_maybe);

static bool
read_sample_masked(struct xdr_reader *reader, struct sample_masked *value, GError **error)
{
    if (!xdr_read_uint32(reader, "sample_masked.bits", &value->bits, error))
        return false;
    switch (value->bits) {
    case SAMPLE_MASK:
        if (!xdr_read_double(reader, "sample_masked.d", &value->u.d, error))
            return false;
        break;
    default:
        break;
    }
    return true;
}

bool
sample_masked_decode(struct xdr_reader *reader, struct sample_masked *ret_value, GError **error)
{
    if (read_sample_masked(reader, ret_value, error))
        return true;
    sample_masked_clear(ret_value);
    return false;
}

size_t
sample_masked_encoded_size(const struct sample_masked *value)
{
    size_t size = 4;

    switch (value->bits) {
    case SAMPLE_MASK:
        size += 8;
        break;
    default:
        break;
    }
    return size;
}

void
sample_masked_encode(struct xdr_writer *writer, const struct sample_masked *value)
{
    xdr_write_uint32(writer, value->bits);
    switch (value->bits) {
    case SAMPLE_MASK:
        xdr_write_double(writer, value->u.d);
        break;
    default:
        break;
    }
}

void
sample_masked_clear(struct sample_masked *value)
{
    *value = (struct sample_masked){0};
}

RPC_TYPE_DEFINE(sample_masked);

static bool
read_sample_unions(struct xdr_reader *reader, struct sample_unions *value, GError **error)
{
    if (!sample_choice_decode(reader, &value->choice, error))
        return false;
    if (!sample_open_decode(reader, &value->open, error))
        return false;
    if (!sample_maybe_decode(reader, &value->maybe, error))
        return false;
    if (!sample_masked_decode(reader, &value->masked, error))
        return false;
    return true;
}

bool
sample_unions_decode(struct xdr_reader *reader, struct sample_unions *ret_value, GError **error)
{
    if (read_sample_unions(reader, ret_value, error))
        return true;
    sample_unions_clear(ret_value);
    return false;
}

size_t
sample_unions_encoded_size(const struct sample_unions *value)
{
    size_t size = 0;

    size += sample_choice_encoded_size(&value->choice);
    size += sample_open_encoded_size(&value->open);
    size += sample_maybe_encoded_size(&value->maybe);
    size += sample_masked_encoded_size(&value->masked);
    return size;
}

void
sample_unions_encode(struct xdr_writer *writer, const struct sample_unions *value)
{
    sample_choice_encode(writer, &value->choice);
    sample_open_encode(writer, &value->open);
    sample_maybe_encode(writer, &value->maybe);
    sample_masked_encode(writer, &value->masked);
}

void
sample_unions_clear(struct sample_unions *value)
{
    sample_choice_clear(&value->choice);
    sample_open_clear(&value->open);
    sample_maybe_clear(&value->maybe);
    *value = (struct sample_unions){0};
}

RPC_TYPE_DEFINE(sample_unions);

static bool
read_sample_type_with_a_name_that_leaves_little_room(
    struct xdr_reader *reader, struct sample_type_with_a_name_that_leaves_little_room *value,
    GError **error)
{
    if (!sample_point_decode(reader, &value->member_with_a_name_of_some_length, error))
        return false;
    return true;
}

bool
sample_type_with_a_name_that_leaves_little_room_decode(
    struct xdr_reader *reader, struct sample_type_with_a_name_that_leaves_little_room *ret_value,
    GError **error)
{
    if (read_sample_type_with_a_name_that_leaves_little_room(reader, ret_value, error))
        return true;
    sample_type_with_a_name_that_leaves_little_room_clear(ret_value);
    return false;
}

size_t
sample_type_with_a_name_that_leaves_little_room_encoded_size(
    const struct sample_type_with_a_name_that_leaves_little_room *value)
{
    return 8;
}

void
sample_type_with_a_name_that_leaves_little_room_encode(
    struct xdr_writer *writer, const struct sample_type_with_a_name_that_leaves_little_room *value)
{
    sample_point_encode(writer, &value->member_with_a_name_of_some_length);
}

void
sample_type_with_a_name_that_leaves_little_room_clear(
    struct sample_type_with_a_name_that_leaves_little_room *value)
{
    *value = (struct sample_type_with_a_name_that_leaves_little_room){0};
}

RPC_TYPE_DEFINE(sample_type_with_a_name_that_leaves_little_room);

static enum rpc_outcome
invoke_nothing(const void *handlers, struct rpc_call *call, void *opaque, void *args, void *ret,
               GError **error)
{
    const struct sample_service_handlers *table = handlers;

    if (!table->nothing)
        return rpc_refuse_missing("nothing", error);
    return table->nothing(call, opaque, error);
}

static enum rpc_outcome
invoke_swap_arrays(const void *handlers, struct rpc_call *call, void *opaque, void *args, void *ret,
                   GError **error)
{
    const struct sample_service_handlers *table = handlers;

    if (!table->swap_arrays)
        return rpc_refuse_missing("swap_arrays", error);
    return table->swap_arrays(call, opaque, args, ret, error);
}

static enum rpc_outcome
invoke_give_unions(const void *handlers, struct rpc_call *call, void *opaque, void *args, void *ret,
                   GError **error)
{
    const struct sample_service_handlers *table = handlers;

    if (!table->give_unions)
        return rpc_refuse_missing("give_unions", error);
    return table->give_unions(call, opaque, ret, error);
}

static enum rpc_outcome
invoke_swap_optionals(const void *handlers, struct rpc_call *call, void *opaque, void *args,
                      void *ret, GError **error)
{
    const struct sample_service_handlers *table = handlers;

    if (!table->swap_optionals)
        return rpc_refuse_missing("swap_optionals", error);
    return table->swap_optionals(call, opaque, args, ret, error);
}

static enum rpc_outcome
invoke_take_a_long_name(const void *handlers, struct rpc_call *call, void *opaque, void *args,
                        void *ret, GError **error)
{
    const struct sample_service_handlers *table = handlers;

    if (!table->take_a_long_name)
        return rpc_refuse_missing("take_a_long_name", error);
    return table->take_a_long_name(call, opaque, args, error);
}

static enum rpc_outcome
invoke_take_bytes(const void *handlers, struct rpc_call *call, void *opaque, void *args, void *ret,
                  GError **error)
{
    const struct sample_service_handlers *table = handlers;

    if (!table->take_bytes)
        return rpc_refuse_missing("sampleTakeBytes", error);
    return table->take_bytes(call, opaque, args, error);
}

static const struct rpc_procedure sample_service_procedures[] = {
    {
        .number = SAMPLE_SERVICE_PROC_NOTHING,
        .flags = RPC_PROC_READONLY | RPC_PROC_PRIORITY | RPC_PROC_NO_AUTH | RPC_PROC_NO_OPEN,
        .name = "nothing",
        .acl = "",
        .invoke = invoke_nothing,
    },
    {
        .number = SAMPLE_SERVICE_PROC_SWAP_ARRAYS,
        .flags = RPC_PROC_READONLY | RPC_PROC_PRIORITY,
        .name = "swap_arrays",
        .acl = "object:read object:write",
        .args = &sample_arrays_type,
        .ret = &sample_arrays_type,
        .invoke = invoke_swap_arrays,
    },
    {
        .number = SAMPLE_SERVICE_PROC_GIVE_UNIONS,
        .flags = RPC_PROC_SECRET_RET,
        .name = "give_unions",
        .acl = "object:read",
        .ret = &sample_unions_type,
        .invoke = invoke_give_unions,
    },
    {
        .number = SAMPLE_SERVICE_PROC_SWAP_OPTIONALS,
        .flags = RPC_PROC_SECRET_ARGS | RPC_PROC_SECRET_RET,
        .name = "swap_optionals",
        .acl = "object:write",
        .args = &sample_optionals_type,
        .ret = &sample_optionals_type,
        .invoke = invoke_swap_optionals,
    },
    {
        .number = SAMPLE_SERVICE_PROC_TAKE_A_LONG_NAME,
        .name = "take_a_long_name",
        .acl = "",
        .args = &sample_type_with_a_name_that_leaves_little_room_type,
        .invoke = invoke_take_a_long_name,
    },
    {
        .number = SAMPLE_SERVICE_PROC_TAKE_BYTES,
        .flags = RPC_PROC_SECRET_ARGS,
        .name = "take_bytes",
        .api_name = "sampleTakeBytes",
        .acl = "",
        .args = &sample_bytes_type,
        .invoke = invoke_take_bytes,
    },
    {
        .number = SAMPLE_SERVICE_PROC_POINT_MOVED,
        .flags = RPC_PROC_EVENT,
        .name = "point_moved",
        .acl = "",
        .args = &sample_point_type,
    },
};

const struct rpc_program sample_service_program = {
    .name = "sample_service",
    .number = 0x2000abcd,
    .version = 3,
    .procedures = sample_service_procedures,
    .procedure_count = G_N_ELEMENTS(sample_service_procedures),
};
