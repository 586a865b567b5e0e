/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the cheapest possible client: messages of libvirt's REMOTE program written by hand, one
 * send and one or two recv a call. It uses neither libvirt's library nor the project's own client,
 * so that it measures the daemon. Payloads are XDR (RFC 4506).
 */
#include "load.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEADER_LEN = 28, /* length word and header */
    REQUEST_MAX = 4096,
    REPLY_MAX = 33554432,
    REMOTE_PROGRAM = 0x20008086,
    VIRTCRYPT_PROGRAM = 0x56435253,
    PROC_OPEN = 1,
    PROC_AUTH_LIST = 66,
    PROC_LOOKUP_BY_UUID = 141,
    PROC_DEFINE = 142,
    PROC_SET_VALUE = 144,
    PROC_GET_VALUE = 145,
    PROC_UNDEFINE = 146,
    PROC_LOOKUP_BY_USAGE = 147,
    PROC_LIST_ALL = 287,
    PROC_VIRTCRYPT_LIST_SECRETS = 2,
    PAGE_MAX = 1000,
    TYPE_REPLY = 1,
    USAGE_VOLUME = 1,
};

struct raw {
    int fd;
    uint32_t serial;
    uint8_t request[REQUEST_MAX];
    size_t request_len;
    uint8_t *reply; /* grows; header included */
    size_t reply_size;
    size_t reply_len;
};

static void
put_uint32(struct raw *raw, uint32_t value)
{
    uint32_t word = htonl(value);

    memcpy(raw->request + raw->request_len, &word, sizeof(word));
    raw->request_len += sizeof(word);
}

static void
put_fixed(struct raw *raw, const void *bytes, size_t len)
{
    memcpy(raw->request + raw->request_len, bytes, len);
    raw->request_len += len;
    while (raw->request_len % 4 != 0)
        raw->request[raw->request_len++] = 0;
}

static void
put_text(struct raw *raw, const char *text)
{
    put_uint32(raw, (uint32_t)strlen(text));
    put_fixed(raw, text, strlen(text));
}

static void
put_secret(struct raw *raw, uint32_t index)
{
    uint8_t uuid[16];
    char usage[64];

    load_secret_uuid(index, uuid);
    load_secret_usage(index, usage, sizeof(usage));
    put_fixed(raw, uuid, sizeof(uuid));
    put_uint32(raw, USAGE_VOLUME);
    put_text(raw, usage);
}

static uint32_t
reply_word(const struct raw *raw, size_t offset)
{
    uint32_t word = 0;

    if (offset + sizeof(word) <= raw->reply_len)
        memcpy(&word, raw->reply + offset, sizeof(word));
    return ntohl(word);
}

static void
begin(struct raw *raw, uint32_t program, uint32_t procedure)
{
    raw->request_len = 0;
    put_uint32(raw, 0); /* length, filled in by finish */
    put_uint32(raw, program);
    put_uint32(raw, 1);
    put_uint32(raw, procedure);
    put_uint32(raw, 0);
    put_uint32(raw, raw->serial++);
    put_uint32(raw, 0);
}

static bool
grow_reply(struct raw *raw, size_t len)
{
    uint8_t *bytes;

    if (len <= raw->reply_size)
        return true;
    bytes = realloc(raw->reply, len);
    if (!bytes)
        return false;
    raw->reply = bytes;
    raw->reply_size = len;
    return true;
}

/* One recv takes a small reply whole, as a good client does. */
static bool
receive(struct raw *raw, char *error)
{
    ssize_t got = recv(raw->fd, raw->reply, raw->reply_size, 0);
    size_t len;

    if (got < HEADER_LEN &&
        (got < 0 || !load_read_all(raw->fd, raw->reply + got, HEADER_LEN - (size_t)got))) {
        snprintf(error, LOAD_ERROR_SIZE, "the daemon closed the connection");
        return false;
    }
    if (got < HEADER_LEN)
        got = HEADER_LEN;
    raw->reply_len = (size_t)got;
    len = reply_word(raw, 0);
    if (len < HEADER_LEN || len > REPLY_MAX || len < (size_t)got || !grow_reply(raw, len) ||
        !load_read_all(raw->fd, raw->reply + got, len - (size_t)got)) {
        snprintf(error, LOAD_ERROR_SIZE, "bad reply of %zu bytes", len);
        return false;
    }
    raw->reply_len = len;
    return true;
}

static bool
finish(struct raw *raw, char *error)
{
    uint32_t length = htonl((uint32_t)raw->request_len);

    memcpy(raw->request, &length, sizeof(length));
    if (!load_write_all(raw->fd, raw->request, raw->request_len)) {
        snprintf(error, LOAD_ERROR_SIZE, "the daemon closed the connection");
        return false;
    }
    do {
        if (!receive(raw, error))
            return false;
    } while (reply_word(raw, 16) != TYPE_REPLY);
    if (reply_word(raw, 24) != 0) {
        snprintf(error, LOAD_ERROR_SIZE, "procedure %u failed with code %u domain %u",
                 reply_word(raw, 12), reply_word(raw, 28), reply_word(raw, 32));
        return false;
    }
    return true;
}

static void
raw_close(void *connection)
{
    struct raw *raw = connection;

    if (raw->fd >= 0)
        close(raw->fd);
    free(raw->reply);
    free(raw);
}

static void *
raw_open(const struct load_params *params, unsigned int client, char *error)
{
    struct raw *raw = calloc(1, sizeof(*raw));

    (void)client;
    if (!raw || !grow_reply(raw, 65536)) {
        snprintf(error, LOAD_ERROR_SIZE, "out of memory");
        free(raw);
        return NULL;
    }
    raw->fd = load_connect(params->socket, error);
    if (raw->fd < 0) {
        raw_close(raw);
        return NULL;
    }
    begin(raw, REMOTE_PROGRAM, PROC_AUTH_LIST);
    if (!finish(raw, error)) {
        raw_close(raw);
        return NULL;
    }
    begin(raw, REMOTE_PROGRAM, PROC_OPEN);
    put_uint32(raw, 1);
    put_text(raw, "secret:///system");
    put_uint32(raw, 0);
    if (!finish(raw, error)) {
        raw_close(raw);
        return NULL;
    }
    return raw;
}

static bool
lookup_uuid(struct raw *raw, uint32_t index, char *error)
{
    uint8_t uuid[16];

    load_secret_uuid(index, uuid);
    begin(raw, REMOTE_PROGRAM, PROC_LOOKUP_BY_UUID);
    put_fixed(raw, uuid, sizeof(uuid));
    if (!finish(raw, error))
        return false;
    if (raw->reply_len < HEADER_LEN + 16 || memcmp(raw->reply + HEADER_LEN, uuid, 16) != 0) {
        snprintf(error, LOAD_ERROR_SIZE, "looked up another secret");
        return false;
    }
    return true;
}

static bool
lookup_usage(struct raw *raw, uint32_t index, char *error)
{
    uint8_t uuid[16];
    char usage[64];

    load_secret_uuid(index, uuid);
    load_secret_usage(index, usage, sizeof(usage));
    begin(raw, REMOTE_PROGRAM, PROC_LOOKUP_BY_USAGE);
    put_uint32(raw, USAGE_VOLUME);
    put_text(raw, usage);
    if (!finish(raw, error))
        return false;
    if (raw->reply_len < HEADER_LEN + 16 || memcmp(raw->reply + HEADER_LEN, uuid, 16) != 0) {
        snprintf(error, LOAD_ERROR_SIZE, "looked up another secret");
        return false;
    }
    return true;
}

static bool
get_value(struct raw *raw, uint32_t index, char *error)
{
    begin(raw, REMOTE_PROGRAM, PROC_GET_VALUE);
    put_secret(raw, index);
    put_uint32(raw, 0);
    if (!finish(raw, error))
        return false;
    if (reply_word(raw, HEADER_LEN) != LOAD_VALUE_LEN) {
        snprintf(error, LOAD_ERROR_SIZE, "got a value of %u bytes", reply_word(raw, HEADER_LEN));
        return false;
    }
    return true;
}

static bool
set_value(struct raw *raw, uint32_t index, char *error)
{
    uint8_t value[LOAD_VALUE_LEN];

    memset(value, (int)(raw->serial & 0xff), sizeof(value));
    begin(raw, REMOTE_PROGRAM, PROC_SET_VALUE);
    put_secret(raw, index);
    put_uint32(raw, sizeof(value));
    put_fixed(raw, value, sizeof(value));
    put_uint32(raw, 0);
    return finish(raw, error);
}

static bool
define(struct raw *raw, uint32_t index, char *error)
{
    char xml[512];

    load_secret_xml(index, xml, sizeof(xml));
    begin(raw, REMOTE_PROGRAM, PROC_DEFINE);
    put_text(raw, xml);
    put_uint32(raw, 0);
    return finish(raw, error);
}

static bool
list_all(struct raw *raw, uint32_t index, char *error)
{
    (void)index;
    begin(raw, REMOTE_PROGRAM, PROC_LIST_ALL);
    put_uint32(raw, 1);
    put_uint32(raw, 0);
    return finish(raw, error);
}

/* Where the entry at `pos` of a page ends: uuid, usage type and id, three booleans. */
static size_t
skip_listed(const struct raw *raw, size_t pos)
{
    uint32_t id_len;

    if (pos + 24 > raw->reply_len)
        return raw->reply_len;
    id_len = reply_word(raw, pos + 20);
    return pos + 24 + ((id_len + 3) & ~3u) + 12;
}

/* One page; sets *ret_last to its last uuid. */
static bool
list_page(struct raw *raw, const uint8_t *after, uint8_t ret_last[16], bool *ret_more, char *error)
{
    size_t pos = HEADER_LEN + 4;

    begin(raw, VIRTCRYPT_PROGRAM, PROC_VIRTCRYPT_LIST_SECRETS);
    put_uint32(raw, after ? 1 : 0);
    if (after)
        put_fixed(raw, after, 16);
    put_uint32(raw, PAGE_MAX);
    put_uint32(raw, 0);
    if (!finish(raw, error))
        return false;
    for (uint32_t left = reply_word(raw, HEADER_LEN); left > 0 && pos < raw->reply_len; left--) {
        memcpy(ret_last, raw->reply + pos, 16);
        pos = skip_listed(raw, pos);
    }
    if (pos + 4 != raw->reply_len) {
        snprintf(error, LOAD_ERROR_SIZE, "a page has %zu bytes instead of %zu", raw->reply_len,
                 pos + 4);
        return false;
    }
    *ret_more = reply_word(raw, pos) != 0;
    return true;
}

static bool
list_paged(struct raw *raw, uint32_t index, char *error)
{
    uint8_t last[16];
    bool more;

    (void)index;
    if (!list_page(raw, NULL, last, &more, error))
        return false;
    while (more) {
        uint8_t after[16];

        memcpy(after, last, sizeof(after));
        if (!list_page(raw, after, last, &more, error))
            return false;
    }
    return true;
}

static bool (*const raw_calls[LOAD_OP_LAST])(struct raw *raw, uint32_t index, char *error) = {
    [LOAD_LOOKUP_UUID] = lookup_uuid, [LOAD_LOOKUP_USAGE] = lookup_usage,
    [LOAD_GET_VALUE] = get_value,     [LOAD_SET_VALUE] = set_value,
    [LOAD_DEFINE] = define,           [LOAD_LIST] = list_all,
    [LOAD_LIST_PAGED] = list_paged,
};

static bool
raw_call(void *connection, enum load_op op, uint32_t index, char *error)
{
    if (!raw_calls[op]) {
        snprintf(error, LOAD_ERROR_SIZE, "not a call of this client");
        return false;
    }
    return raw_calls[op](connection, index, error);
}

static bool
raw_undo(void *connection, uint32_t index, char *error)
{
    struct raw *raw = connection;

    begin(raw, REMOTE_PROGRAM, PROC_UNDEFINE);
    put_secret(raw, index);
    return finish(raw, error);
}

const struct load_backend load_backend_raw = {
    .name = "raw",
    .open = raw_open,
    .call = raw_call,
    .undo = raw_undo,
    .close = raw_close,
};
