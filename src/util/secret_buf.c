/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the lengths and the wiping of key buffers; their pages are secret_arena.c's.
 */
#include "util/secret_buf.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "util/error.h"
#include "util/registers.h"
#include "util/secret_arena.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(secret_buf, "getrandom");

/* What a forked child sees of a buffer that it inherited. */
static const uint8_t nothing[64];

static uint8_t *
bytes_of(const struct secret_buf *buf)
{
    return buf->bytes ? buf->bytes : (uint8_t *)nothing;
}

struct secret_buf *
secret_buf_new(size_t len, GError **error)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct secret_buf *buf;

    if (len > SECRET_BUF_MAX) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "a key buffer of %zu bytes is larger than the maximum of %u", len,
                  SECRET_BUF_MAX);
        return NULL;
    }
    buf = secret_arena_take(MAX((len + page - 1) / page, 1), error);
    if (buf)
        buf->len = len;
    return buf;
}

struct secret_buf *
secret_buf_new_random(size_t len, GError **error)
{
    g_autoptr(secret_buf_t) buf = secret_buf_new(len, error);
    size_t done = 0;

    if (!buf)
        return NULL;
    while (done < len) {
        ssize_t got = getrandom(bytes_of(buf) + done, len - done, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set_errno(error, ERROR_FROM_NONE, errno, "cannot get random bytes");
            return NULL;
        }
        done += (size_t)got;
    }
    return g_steal_pointer(&buf);
}

struct secret_buf *
secret_buf_new_from(const void *bytes, size_t len, GError **error)
{
    struct secret_buf *buf = secret_buf_new(len, error);

    if (buf && len > 0)
        memcpy(bytes_of(buf), bytes, len);
    return buf;
}

struct secret_buf *
secret_buf_take_bytes(void *bytes, size_t len, GError **error)
{
    struct secret_buf *buf = secret_buf_new_from(bytes, len, error);

    if (len > 0)
        explicit_bzero(bytes, len);
    return buf;
}

struct secret_buf *
secret_buf_read_fd(int fd, size_t max, GError **error)
{
    g_autoptr(secret_buf_t) buf = secret_buf_new(max + 1, error);
    size_t len = 0;

    if (!buf)
        return NULL;
    while (len <= max) {
        ssize_t got = secret_arena_read(fd, bytes_of(buf) + len, max + 1 - len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set_errno(error, ERROR_FROM_NONE, errno, "cannot read the value");
            return NULL;
        }
        if (got == 0)
            break;
        len += (size_t)got;
    }
    if (len > max) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "the value is longer than the maximum of %zu bytes", max);
        return NULL;
    }
    secret_buf_truncate(buf, len);
    return g_steal_pointer(&buf);
}

void
secret_buf_free(struct secret_buf *buf)
{
    if (!buf)
        return;
    secret_buf_wipe(buf);
    buf->len = 0;
    secret_arena_put(buf);
}

bool
secret_buf_is_hidden(const struct secret_buf *buf)
{
    return secret_arena_is_hidden(buf->arena);
}

size_t
secret_buf_len(const struct secret_buf *buf)
{
    return buf ? buf->len : 0;
}

const uint8_t *
secret_buf_bytes(const struct secret_buf *buf)
{
    return buf ? bytes_of(buf) : NULL;
}

uint8_t *
secret_buf_writable(struct secret_buf *buf)
{
    return bytes_of(buf);
}

void
secret_buf_truncate(struct secret_buf *buf, size_t len)
{
    g_assert(len <= buf->len);
    explicit_bzero(bytes_of(buf) + len, buf->len - len);
    buf->len = len;
}

void
secret_buf_wipe(struct secret_buf *buf)
{
    explicit_bzero(bytes_of(buf), buf->len);
    /* Its bytes went through them. */
    registers_wipe();
}

bool
secret_bytes_equal(const void *a, const void *b, size_t len)
{
    const uint8_t *left = a;
    const uint8_t *right = b;
    volatile uint8_t differ = 0;

    for (size_t i = 0; i < len; i++)
        differ |= left[i] ^ right[i];
    return differ == 0;
}

bool
secret_buf_equal(const struct secret_buf *a, const struct secret_buf *b)
{
    return a->len == b->len && secret_bytes_equal(bytes_of(a), bytes_of(b), a->len);
}
