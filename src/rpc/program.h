/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the shape of what the XDR compiler generates for a program: its procedure table. Server and
 * client are written against this and know no procedure by name.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/xdr.h"

struct rpc_call;

/* What a handler did with a call. */
enum rpc_outcome {
    RPC_DONE,   /* *ret is filled: reply with it */
    RPC_FAILED, /* *error is set: reply with that */
    RPC_LATER,  /* the handler keeps the call and ends it by rpc_call_reply or rpc_call_fail */
};

enum rpc_procedure_flags {
    RPC_PROC_READONLY = 1 << 0,    /* @readonly: allowed on read-only connections */
    RPC_PROC_SECRET_ARGS = 1 << 1, /* a @secret field in the arguments: frame in secret memory */
    RPC_PROC_SECRET_RET = 1 << 2,  /* the same for the reply */
    RPC_PROC_PRIORITY = 1 << 3,    /* @priority: served before others that wait */
    RPC_PROC_EVENT = 1 << 4,       /* @event: a message from the server, never called */
    RPC_PROC_NO_AUTH = 1 << 5,     /* @anonymous: allowed before authentication */
    RPC_PROC_NO_OPEN = 1 << 6,     /* @unopened: allowed before the connection is opened */
};

/* One generated type. NULL stands for void. */
struct rpc_type {
    const char *name;
    size_t size; /* of the C struct */
    bool (*decode)(struct xdr_reader *reader, void *ret_value, GError **error); /* into zeroed */
    size_t (*encoded_size)(const void *value);
    void (*encode)(struct xdr_writer *writer, const void *value);
    void (*clear)(void *value); /* frees members, wipes @secret ones, zeroes; safe twice */
};

/* Defines TYPE_type of the generated functions TYPE_decode and so on, which take a struct TYPE. */
#define RPC_TYPE_DEFINE(type)                                                                      \
    static bool type##_decode_any(struct xdr_reader *reader, void *ret_value, GError **error)      \
    {                                                                                              \
        return type##_decode(reader, ret_value, error);                                            \
    }                                                                                              \
    static size_t type##_encoded_size_any(const void *value)                                       \
    {                                                                                              \
        return type##_encoded_size(value);                                                         \
    }                                                                                              \
    static void type##_encode_any(struct xdr_writer *writer, const void *value)                    \
    {                                                                                              \
        type##_encode(writer, value);                                                              \
    }                                                                                              \
    static void type##_clear_any(void *value)                                                      \
    {                                                                                              \
        type##_clear(value);                                                                       \
    }                                                                                              \
    const struct rpc_type type##_type = {                                                          \
        .name = #type,                                                                             \
        .size = sizeof(struct type),                                                               \
        .decode = type##_decode_any,                                                               \
        .encoded_size = type##_encoded_size_any,                                                   \
        .encode = type##_encode_any,                                                               \
        .clear = type##_clear_any,                                                                 \
    }

struct rpc_procedure {
    int32_t number;
    unsigned int flags;
    const char *name;     /* "secret_define_xml" */
    const char *api_name; /* @api(virSecretDefineXML): named in refusals; may be NULL */
    const char *acl;      /* "secret:write secret:save", "" for none */
    const struct rpc_type *args;
    const struct rpc_type *ret;
    /* Server stub; NULL for events. `handlers` is the generated struct of function pointers; a
     * NULL pointer in it fails with ERROR_NO_SUPPORT. `opaque` is what the program was added
     * with. */
    enum rpc_outcome (*invoke)(const void *handlers, struct rpc_call *call, void *opaque,
                               void *args, void *ret, GError **error);
};

struct rpc_program {
    const char *name;
    uint32_t number;
    uint32_t version;
    const struct rpc_procedure *procedures; /* sorted by number */
    size_t procedure_count;
};

/* Binary search; NULL if there is none. */
const struct rpc_procedure *rpc_program_find(const struct rpc_program *program, int32_t number);

/* For generated stubs: the error of a call without a handler, ERROR_NO_SUPPORT naming it. Returns
 * RPC_FAILED. */
enum rpc_outcome rpc_refuse_missing(const char *api_name, GError **error);
