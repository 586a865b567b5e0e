/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: allocation and wiping of key memory. A region is [guard][header][bytes...][guard]; the
 * header (struct secret_buf) shares the first locked page with the bytes. One-page regions that are
 * freed are wiped and kept for reuse, because a call that returns a key would otherwise pay six
 * system calls for it.
 */
#include "util/secret_buf.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "util/error.h"
#include "util/registers.h"

struct secret_buf {
    size_t len;
    size_t pages; /* between the guards */
    struct secret_buf *next_spare;
};

/* Wiped one-page regions waiting for reuse. */
enum { SPARE_MAX = 32 };
static GMutex spare_lock;
static struct secret_buf *spare_list;
static unsigned int spare_count;

static size_t
page_size(void)
{
    static size_t size;

    if (size == 0)
        size = (size_t)sysconf(_SC_PAGESIZE);
    return size;
}

static uint8_t *
bytes_of(const struct secret_buf *buf)
{
    return (uint8_t *)buf + sizeof(*buf);
}

static struct secret_buf *
take_spare(void)
{
    struct secret_buf *buf;

    g_mutex_lock(&spare_lock);
    buf = spare_list;
    if (buf) {
        spare_list = buf->next_spare;
        spare_count--;
    }
    g_mutex_unlock(&spare_lock);
    return buf;
}

static bool
put_spare(struct secret_buf *buf)
{
    bool kept;

    g_mutex_lock(&spare_lock);
    kept = spare_count < SPARE_MAX;
    if (kept) {
        buf->next_spare = spare_list;
        spare_list = buf;
        spare_count++;
    }
    g_mutex_unlock(&spare_lock);
    return kept;
}

/* In a forked child all regions are zero, so a list through them has no next pointers. */
static void
forget_spares(void)
{
    g_mutex_init(&spare_lock);
    spare_list = NULL;
    spare_count = 0;
}

static void
watch_forks(void)
{
    static gsize done;

    if (g_once_init_enter(&done)) {
        pthread_atfork(NULL, NULL, forget_spares);
        g_once_init_leave(&done, 1);
    }
}

static struct secret_buf *
map_region(size_t pages, GError **error)
{
    size_t page = page_size();
    uint8_t *region = mmap(NULL, (pages + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *body = region + page;
    struct secret_buf *buf;

    if (region == MAP_FAILED) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot map %zu pages of key memory", pages);
        return NULL;
    }
    if (mprotect(body, pages * page, PROT_READ | PROT_WRITE) < 0 ||
        madvise(body, pages * page, MADV_DONTDUMP) < 0 ||
        madvise(body, pages * page, MADV_WIPEONFORK) < 0 || mlock(body, pages * page) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno,
                        "cannot lock %zu bytes of key memory (see the limit LimitMEMLOCK)",
                        pages * page);
        munmap(region, (pages + 2) * page);
        return NULL;
    }
    watch_forks();
    buf = (struct secret_buf *)body;
    buf->pages = pages;
    return buf;
}

static void
unmap_region(struct secret_buf *buf)
{
    size_t page = page_size();

    munmap((uint8_t *)buf - page, (buf->pages + 2) * page);
}

struct secret_buf *
secret_buf_new(size_t len, GError **error)
{
    size_t pages;
    struct secret_buf *buf = NULL;

    if (len > SECRET_BUF_MAX) {
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "a key buffer of %zu bytes is larger than the maximum of %u", len,
                  SECRET_BUF_MAX);
        return NULL;
    }
    pages = (sizeof(*buf) + len + page_size() - 1) / page_size();
    if (pages == 1)
        buf = take_spare();
    if (!buf)
        buf = map_region(pages, error);
    if (!buf)
        return NULL;
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
        ssize_t got = read(fd, bytes_of(buf) + len, max + 1 - len);

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
    if (buf->pages != 1 || !put_spare(buf))
        unmap_region(buf);
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
