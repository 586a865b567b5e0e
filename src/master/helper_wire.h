/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the bytes between a daemon, its broker and a helper. A message is
 *
 *      8  magic "VCHELP01"
 *      2  kind: of a request the operation, of an answer one of enum helper_answer
 *      2  1 if there is a key, else 0
 *      4  length of the fields, F
 *      4  length of the key, N
 *      F  fields, as fields_append writes them
 *      N  key
 *
 * on a stream socket, one each way. A failure is an answer with the fields domain, code, message.
 * What the broker is asked is one packet each way, of constant length.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/fields.h"
#include "util/secret_buf.h"

enum {
    HELPER_WIRE_HEADER_SIZE = 20,
    HELPER_WIRE_FIELDS_MAX = 2 + FIELDS_MAX * (4 + FIELD_NAME_MAX + FIELD_VALUE_MAX),
    HELPER_WIRE_KEY_MAX = 4096,
    HELPER_TIMEOUT_MAX_MS = 10 * 60 * 1000,
    HELPER_OPERATION_MAX = 10,
};

enum helper_answer { HELPER_ANSWER_DONE = 1, HELPER_ANSWER_FAILED = 2 };

struct helper_message {
    unsigned int kind;
    struct fields *fields;  /* never NULL after receiving; NULL when sending: none */
    struct secret_buf *key; /* or NULL */
};
void helper_message_clear(struct helper_message *message);

/* Both wait, on a socket that does not block, until `deadline` (monotonic us): then
 * ERROR_OPERATION_TIMEOUT. An end of the stream, or bytes that are no message, are
 * ERROR_OPERATION_FAILED; nothing is allocated for a length beyond the maxima above. */
bool helper_wire_send(int fd, const struct helper_message *message, gint64 deadline,
                      GError **error);
bool helper_wire_receive(int fd, struct helper_message *ret_message, gint64 deadline,
                         GError **error);

/* `error` as an answer, and back. */
void helper_wire_put_error(struct helper_message *message, const GError *error);
void helper_wire_take_error(const struct helper_message *message, GError **error);

/* "tpm2-unseal"; NULL: no operation. Also the helper's first word, so that it is seen in ps. */
const char *helper_operation_name(unsigned int operation);

/* ---- what the broker is asked ---- */

struct helper_order {
    uint32_t serial; /* comes back */
    uint32_t operation;
    uint32_t timeout_ms;
};

/* How it is answered; HELPER_STARTED comes with the socket. */
enum helper_start_result {
    HELPER_STARTED = 0,
    HELPER_BUSY = 1, /* too many at a time: ask again */
    HELPER_REFUSED = 2,
    HELPER_NOT_STARTED = 3, /* `errnum` says why */
};

struct helper_order_answer {
    uint32_t serial;
    uint32_t result;
    uint32_t errnum;
};

typedef struct helper_message helper_message_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(helper_message_t, helper_message_clear)
