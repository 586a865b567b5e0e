/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the types of sample and their codec. *_decode takes a zeroed struct, and zeroes it again on
 * failure; *_clear frees what a struct holds, wipes @secret members and zeroes it. Strings are
 * never NULL unless optional; an optional member is NULL when absent.
 *
 * Made by src/rpc/gen (docs/xdr.md) of tests/gen/sample.x, tests/gen/sample_types.x: change those,
 * not this file.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/program.h"
#include "sample_types.h"
#include "rpc/xdr.h"
#include "util/secret_buf.h"

struct sample_scalars {
    int32_t i;
    uint32_t u;
    int64_t h;
    uint64_t uh;
    double d;
    bool b;
    enum sample_color color;
};

struct sample_list {
    struct sample_scalars first;
    struct sample_list *next;
};

struct sample_bytes {
    uint8_t fixed[7];
    uint8_t *some;
    uint32_t some_len;
    uint8_t digest[5];
    struct secret_buf *key;
    char *text;
    char *name;
};

struct sample_arrays {
    int32_t numbers[3];
    int64_t *longs;
    uint32_t longs_len;
    enum sample_color *colors;
    uint32_t colors_len;
    enum sample_color pair[2];
    struct sample_point points[2];
    struct sample_list *lists;
    uint32_t lists_len;
    char *names[2];
    char **more_names;
    uint32_t more_names_len;
    uint8_t digests[2][5];
    uint8_t (*more_digests)[5];
    uint32_t more_digests_len;
    char **maybe_names;
    uint32_t maybe_names_len;
};

struct sample_optionals {
    int32_t *number;
    enum sample_color *color;
    bool *flag;
    struct sample_point *point;
    struct sample_bytes *bytes;
    uint8_t *digest;
    struct sample_choice *choice;
};

struct sample_choice {
    enum sample_color color;
    union {
        int32_t number;
        struct {
            uint8_t *bytes;
            uint32_t bytes_len;
        };
    } u;
};

struct sample_open {
    int32_t kind;
    union {
        char *name;
        struct {
            struct sample_open *nested;
            uint32_t nested_len;
        };
        struct sample_point point;
    } u;
};

struct sample_maybe {
    bool is_there;
    union {
        struct secret_buf *key;
    } u;
};

struct sample_masked {
    uint32_t bits;
    union {
        double d;
    } u;
};

struct sample_unions {
    struct sample_choice choice;
    struct sample_open open;
    struct sample_maybe maybe;
    struct sample_masked masked;
};

struct sample_type_with_a_name_that_leaves_little_room {
    struct sample_point member_with_a_name_of_some_length;
};

bool sample_scalars_decode(struct xdr_reader *reader, struct sample_scalars *ret_value,
                           GError **error);
size_t sample_scalars_encoded_size(const struct sample_scalars *value);
void sample_scalars_encode(struct xdr_writer *writer, const struct sample_scalars *value);
void sample_scalars_clear(struct sample_scalars *value);
extern const struct rpc_type sample_scalars_type;

bool sample_list_decode(struct xdr_reader *reader, struct sample_list *ret_value, GError **error);
size_t sample_list_encoded_size(const struct sample_list *value);
void sample_list_encode(struct xdr_writer *writer, const struct sample_list *value);
void sample_list_clear(struct sample_list *value);
extern const struct rpc_type sample_list_type;

bool sample_bytes_decode(struct xdr_reader *reader, struct sample_bytes *ret_value, GError **error);
size_t sample_bytes_encoded_size(const struct sample_bytes *value);
void sample_bytes_encode(struct xdr_writer *writer, const struct sample_bytes *value);
void sample_bytes_clear(struct sample_bytes *value);
extern const struct rpc_type sample_bytes_type;

bool sample_arrays_decode(struct xdr_reader *reader, struct sample_arrays *ret_value,
                          GError **error);
size_t sample_arrays_encoded_size(const struct sample_arrays *value);
void sample_arrays_encode(struct xdr_writer *writer, const struct sample_arrays *value);
void sample_arrays_clear(struct sample_arrays *value);
extern const struct rpc_type sample_arrays_type;

bool sample_optionals_decode(struct xdr_reader *reader, struct sample_optionals *ret_value,
                             GError **error);
size_t sample_optionals_encoded_size(const struct sample_optionals *value);
void sample_optionals_encode(struct xdr_writer *writer, const struct sample_optionals *value);
void sample_optionals_clear(struct sample_optionals *value);
extern const struct rpc_type sample_optionals_type;

bool sample_choice_decode(struct xdr_reader *reader, struct sample_choice *ret_value,
                          GError **error);
size_t sample_choice_encoded_size(const struct sample_choice *value);
void sample_choice_encode(struct xdr_writer *writer, const struct sample_choice *value);
void sample_choice_clear(struct sample_choice *value);
extern const struct rpc_type sample_choice_type;

bool sample_open_decode(struct xdr_reader *reader, struct sample_open *ret_value, GError **error);
size_t sample_open_encoded_size(const struct sample_open *value);
void sample_open_encode(struct xdr_writer *writer, const struct sample_open *value);
void sample_open_clear(struct sample_open *value);
extern const struct rpc_type sample_open_type;

bool sample_maybe_decode(struct xdr_reader *reader, struct sample_maybe *ret_value, GError **error);
size_t sample_maybe_encoded_size(const struct sample_maybe *value);
void sample_maybe_encode(struct xdr_writer *writer, const struct sample_maybe *value);
void sample_maybe_clear(struct sample_maybe *value);
extern const struct rpc_type sample_maybe_type;

bool sample_masked_decode(struct xdr_reader *reader, struct sample_masked *ret_value,
                          GError **error);
size_t sample_masked_encoded_size(const struct sample_masked *value);
void sample_masked_encode(struct xdr_writer *writer, const struct sample_masked *value);
void sample_masked_clear(struct sample_masked *value);
extern const struct rpc_type sample_masked_type;

bool sample_unions_decode(struct xdr_reader *reader, struct sample_unions *ret_value,
                          GError **error);
size_t sample_unions_encoded_size(const struct sample_unions *value);
void sample_unions_encode(struct xdr_writer *writer, const struct sample_unions *value);
void sample_unions_clear(struct sample_unions *value);
extern const struct rpc_type sample_unions_type;

bool sample_type_with_a_name_that_leaves_little_room_decode(
    struct xdr_reader *reader, struct sample_type_with_a_name_that_leaves_little_room *ret_value,
    GError **error);
size_t sample_type_with_a_name_that_leaves_little_room_encoded_size(
    const struct sample_type_with_a_name_that_leaves_little_room *value);
void sample_type_with_a_name_that_leaves_little_room_encode(
    struct xdr_writer *writer, const struct sample_type_with_a_name_that_leaves_little_room *value);
void sample_type_with_a_name_that_leaves_little_room_clear(
    struct sample_type_with_a_name_that_leaves_little_room *value);
extern const struct rpc_type sample_type_with_a_name_that_leaves_little_room_type;

enum sample_service_procedure {
    SAMPLE_SERVICE_PROC_NOTHING = 1,
    SAMPLE_SERVICE_PROC_SWAP_ARRAYS = 4,
    SAMPLE_SERVICE_PROC_GIVE_UNIONS = 5,
    SAMPLE_SERVICE_PROC_SWAP_OPTIONALS = 6,
    SAMPLE_SERVICE_PROC_TAKE_A_LONG_NAME = 7,
    SAMPLE_SERVICE_PROC_TAKE_BYTES = 12,
    SAMPLE_SERVICE_PROC_POINT_MOVED = 100,
};

extern const struct rpc_program sample_service_program;
