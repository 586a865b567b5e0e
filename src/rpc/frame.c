/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see frame.h.
 */
#include "rpc/frame.h"

#include <string.h>

uint32_t
rpc_frame_read_word(const uint8_t *bytes)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof(word));
    return GUINT32_FROM_BE(word);
}

static void
write_word(uint8_t *bytes, uint32_t word)
{
    word = GUINT32_TO_BE(word);
    memcpy(bytes, &word, sizeof(word));
}

bool
rpc_frame_length_is_valid(uint32_t length)
{
    return length >= RPC_FRAME_HEADER_SIZE && length <= RPC_FRAME_MAX;
}

void
rpc_frame_decode_header(const uint8_t *bytes, struct rpc_frame_header *ret_header)
{
    ret_header->length = rpc_frame_read_word(bytes);
    ret_header->program = rpc_frame_read_word(bytes + 4);
    ret_header->version = rpc_frame_read_word(bytes + 8);
    ret_header->procedure = (int32_t)rpc_frame_read_word(bytes + 12);
    ret_header->type = rpc_frame_read_word(bytes + 16);
    ret_header->serial = rpc_frame_read_word(bytes + 20);
    ret_header->status = rpc_frame_read_word(bytes + 24);
}

void
rpc_frame_encode_header(const struct rpc_frame_header *header, uint8_t *bytes)
{
    write_word(bytes, header->length);
    write_word(bytes + 4, header->program);
    write_word(bytes + 8, header->version);
    write_word(bytes + 12, (uint32_t)header->procedure);
    write_word(bytes + 16, header->type);
    write_word(bytes + 20, header->serial);
    write_word(bytes + 24, header->status);
}

/* Adds the bytes of descriptors to *size; INVALID, HEADLESS, or WHOLE for "size is known". */
static enum rpc_frame_progress
add_descriptors(const uint8_t *bytes, size_t len, const struct rpc_frame_header *header,
                size_t *size)
{
    uint32_t count;

    if (header->type != RPC_FRAME_CALL_WITH_FDS)
        return RPC_FRAME_WHOLE;
    if (header->length < RPC_FRAME_HEADER_SIZE + RPC_FRAME_FDS_SIZE)
        return RPC_FRAME_INVALID;
    if (len < RPC_FRAME_HEADER_SIZE + RPC_FRAME_FDS_SIZE)
        return RPC_FRAME_HEADLESS;
    count = rpc_frame_read_word(bytes + RPC_FRAME_HEADER_SIZE);
    if (count > RPC_FRAME_FDS_MAX)
        return RPC_FRAME_INVALID;
    *size += count;
    return RPC_FRAME_WHOLE;
}

enum rpc_frame_progress
rpc_frame_examine(const uint8_t *bytes, size_t len, struct rpc_frame_header *ret_header,
                  size_t *ret_size)
{
    struct rpc_frame_header header;
    enum rpc_frame_progress progress;
    size_t size;

    if (len >= RPC_FRAME_LENGTH_SIZE && !rpc_frame_length_is_valid(rpc_frame_read_word(bytes)))
        return RPC_FRAME_INVALID;
    if (len < RPC_FRAME_HEADER_SIZE)
        return RPC_FRAME_HEADLESS;
    rpc_frame_decode_header(bytes, &header);
    size = header.length;
    progress = add_descriptors(bytes, len, &header, &size);
    if (progress != RPC_FRAME_WHOLE)
        return progress;
    *ret_header = header;
    *ret_size = size;
    return len < size ? RPC_FRAME_PARTIAL : RPC_FRAME_WHOLE;
}
