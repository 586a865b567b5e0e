/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the head of a message of libvirt's protocol: seven big-endian words before the payload.
 *
 *     length      of the whole message, this word included
 *     program     0x20008086 for libvirt's calls, 0x6b656570 for keepalive
 *     version     of the program
 *     procedure   within the program, signed
 *     type        enum rpc_frame_type
 *     serial      chosen by the caller, echoed in the reply
 *     status      enum rpc_frame_status
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RPC_FRAME_LENGTH_SIZE = 4,
    RPC_FRAME_HEADER_SIZE = 28,
    RPC_FRAME_MAX = 33554432 + 4, /* bytes of a whole message */
    RPC_FRAME_FDS_MAX = 32,       /* descriptors that may follow one message */
    RPC_FRAME_FDS_SIZE = 4,       /* their count, before the arguments */
};

enum rpc_frame_type {
    RPC_FRAME_CALL = 0,
    RPC_FRAME_REPLY = 1,
    RPC_FRAME_MESSAGE = 2, /* an event, or keepalive */
    RPC_FRAME_STREAM = 3,
    RPC_FRAME_CALL_WITH_FDS = 4,
    RPC_FRAME_REPLY_WITH_FDS = 5,
    RPC_FRAME_STREAM_HOLE = 6,
};

enum rpc_frame_status {
    RPC_FRAME_OK = 0,
    RPC_FRAME_ERROR = 1,
    RPC_FRAME_CONTINUE = 2,
};

enum { RPC_FRAME_EVENT_SERIAL = 1 }; /* libvirt's events carry 1 */

struct rpc_frame_header {
    uint32_t length;
    uint32_t program;
    uint32_t version;
    int32_t procedure;
    uint32_t type;
    uint32_t serial;
    uint32_t status;
};

uint32_t rpc_frame_read_word(const uint8_t *bytes);

/* `length` holds a header and is at most RPC_FRAME_MAX. */
bool rpc_frame_length_is_valid(uint32_t length);

/* From and to RPC_FRAME_HEADER_SIZE bytes. */
void rpc_frame_decode_header(const uint8_t *bytes, struct rpc_frame_header *ret_header);
void rpc_frame_encode_header(const struct rpc_frame_header *header, uint8_t *bytes);

/* What the first `len` of a message's bytes say about it. */
enum rpc_frame_progress {
    RPC_FRAME_INVALID,  /* no client of libvirt's sends this: close */
    RPC_FRAME_HEADLESS, /* the head is not there yet */
    RPC_FRAME_PARTIAL,  /* *ret_header and *ret_size are set, bytes are missing */
    RPC_FRAME_WHOLE,
};

/* *ret_size is the length and, after RPC_FRAME_CALL_WITH_FDS, the bytes that its descriptors come
 * with: one each. */
enum rpc_frame_progress rpc_frame_examine(const uint8_t *bytes, size_t len,
                                          struct rpc_frame_header *ret_header, size_t *ret_size);
