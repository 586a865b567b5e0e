/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see rest.h.
 */
#include "rpc/rest.h"

#include <string.h>

enum { CAPACITY_MIN = 512 };

void
rpc_rest_init(struct rpc_rest *rest, struct rpc_rest_usage *usage)
{
    *rest = (struct rpc_rest){.usage = usage};
}

static void
count(struct rpc_rest *rest, size_t before, size_t after)
{
    size_t *used = rest->secret ? &rest->usage->secret : &rest->usage->plain;

    *used += after - before;
}

void
rpc_rest_clear(struct rpc_rest *rest)
{
    count(rest, rest->capacity, 0);
    g_clear_pointer(&rest->plain, g_free);
    g_clear_pointer(&rest->secret, secret_buf_free);
    rest->len = 0;
    rest->capacity = 0;
}

bool
rpc_rest_is_secret(const struct rpc_rest *rest)
{
    return rest->secret != NULL;
}

static uint8_t *
writable(struct rpc_rest *rest)
{
    return rest->secret ? secret_buf_writable(rest->secret) : rest->plain;
}

const uint8_t *
rpc_rest_bytes(const struct rpc_rest *rest)
{
    return rest->secret ? secret_buf_bytes(rest->secret) : rest->plain;
}

static bool
grow_secret(struct rpc_rest *rest, size_t capacity, GError **error)
{
    g_autoptr(secret_buf_t) larger = secret_buf_new(capacity, error);

    if (!larger)
        return false;
    if (rest->len > 0)
        memcpy(secret_buf_writable(larger), secret_buf_bytes(rest->secret), rest->len);
    secret_buf_free(rest->secret);
    rest->secret = g_steal_pointer(&larger);
    return true;
}

static bool
grow(struct rpc_rest *rest, size_t capacity, bool secret, GError **error)
{
    size_t before = rest->capacity;

    if (capacity <= before)
        return true;
    if (!secret)
        rest->plain = g_realloc(rest->plain, capacity);
    else if (!grow_secret(rest, capacity, error))
        return false;
    rest->capacity = capacity;
    count(rest, before, capacity);
    return true;
}

bool
rpc_rest_append(struct rpc_rest *rest, const uint8_t *bytes, size_t len, bool secret,
                GError **error)
{
    g_assert(!secret || rest->len == 0 || rest->secret);
    if (len == 0)
        return true;
    if (rest->len == 0 && rest->capacity > 0)
        rpc_rest_clear(rest);
    if (rest->capacity - rest->len < len &&
        !grow(rest, rest->len + MAX(len, rest->len), secret || rest->secret, error))
        return false;
    memcpy(writable(rest) + rest->len, bytes, len);
    rest->len += len;
    return true;
}

uint8_t *
rpc_rest_reserve(struct rpc_rest *rest, size_t max, size_t *ret_room, GError **error)
{
    size_t wanted;

    g_assert(rest->len > 0 && max > 0);
    if (rest->capacity == rest->len) {
        wanted = rest->len + MIN(max, MAX(rest->len, CAPACITY_MIN));
        if (!grow(rest, wanted, rest->secret != NULL, error))
            return NULL;
    }
    *ret_room = MIN(rest->capacity - rest->len, max);
    return writable(rest) + rest->len;
}

void
rpc_rest_add_len(struct rpc_rest *rest, size_t len)
{
    g_assert(len <= rest->capacity - rest->len);
    rest->len += len;
}

void
rpc_rest_move(struct rpc_rest *to, struct rpc_rest *from)
{
    g_assert(to->len == 0 && to->usage == from->usage);
    rpc_rest_clear(to);
    *to = *from;
    rpc_rest_init(from, from->usage);
}
