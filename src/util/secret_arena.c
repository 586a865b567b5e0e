/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see secret_arena.h. One-page slots come by the dozen, and some arenas of larger ones are
 * kept: a call that returns a key would otherwise pay eight system calls for it, and the kernel's
 * taking each page out of its own mapping, which is slow. The descriptor of memfd_secret(2) is
 * closed as soon as its pages are mapped: who gets hold of it could map them, too.
 */
#include "util/secret_arena.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(secret_arena,
                 "memfd_secret ftruncate mmap munmap mprotect madvise mlock close read");

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* of all architectures */
#endif

enum {
    SLOTS = 16,                /* one-page slots of an arena */
    SPARE_MAX = 32,            /* free slots that are kept when a whole arena could go */
    LARGE_KEPT_MAX = 32,       /* pages of a larger slot that is kept */
    LARGE_KEPT_PAGES_MAX = 64, /* of all that are kept */
};

/* At the start of the book, which is one page. */
struct secret_arena {
    struct secret_arena *next; /* of the list of those with free slots */
    struct secret_arena **link;
    size_t slot_pages;
    uint32_t slots;
    uint32_t free; /* a bit for each */
    bool is_hidden;
    struct secret_buf bufs[SLOTS];
};
G_STATIC_ASSERT(sizeof(struct secret_arena) <= 4096);

/* Guarded by the lock: arenas of one-page slots that have a free one; those of one larger slot that
 * is free. */
static GMutex lock;
static struct secret_arena *with_free;
static unsigned int spare_count;
static struct secret_arena *large;
static size_t large_pages;
/* Set once the kernel has said that it has no memfd_secret(2). */
static gint is_missing;

static size_t
page_size(void)
{
    static size_t size;

    if (size == 0)
        size = (size_t)sysconf(_SC_PAGESIZE);
    return size;
}

/* In a forked child the books are zero; another thread may have had the lock. */
static void
forget_all(void)
{
    g_mutex_init(&lock);
    with_free = NULL;
    spare_count = 0;
    large = NULL;
    large_pages = 0;
}

static void
watch_forks(void)
{
    static gsize done;

    if (g_once_init_enter(&done)) {
        pthread_atfork(NULL, NULL, forget_all);
        g_once_init_leave(&done, 1);
    }
}

static size_t
body_size(size_t slots, size_t slot_pages)
{
    return (slots * (slot_pages + 1) - 1) * page_size();
}

static size_t
region_size(size_t slots, size_t slot_pages)
{
    return body_size(slots, slot_pages) + 3 * page_size();
}

/* The first slot; the others follow, each after a guard. */
static uint8_t *
body_of(uint8_t *region)
{
    return region + 2 * page_size();
}

static bool
map_hidden(uint8_t *body, size_t slots, size_t slot_pages)
{
    size_t size = slot_pages * page_size();
    g_auto(file_fd) fd = -1;

    if (g_atomic_int_get(&is_missing))
        return false;
    fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    if (fd < 0 && errno == ENOSYS)
        g_atomic_int_set(&is_missing, 1);
    if (fd < 0 || ftruncate(fd, (off_t)(slots * size)) < 0)
        return false;
    for (size_t i = 0; i < slots; i++) {
        if (mmap(body + i * (size + page_size()), size, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, fd, (off_t)(i * size)) == MAP_FAILED)
            return false;
    }
    /* A child would share them. (The kernel keeps such pages out of dumps and swap.) */
    return madvise(body, body_size(slots, slot_pages), MADV_DONTFORK) == 0;
}

/* false with errno. */
static bool
map_locked(uint8_t *body, size_t slots, size_t slot_pages)
{
    size_t size = slot_pages * page_size();
    size_t all = body_size(slots, slot_pages);

    /* Anew: what map_hidden mapped before it failed goes. */
    if (mmap(body, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
        madvise(body, all, MADV_DONTDUMP) < 0 || madvise(body, all, MADV_WIPEONFORK) < 0)
        return false;
    for (size_t i = 0; i < slots; i++) {
        uint8_t *slot = body + i * (size + page_size());

        if (mprotect(slot, size, PROT_READ | PROT_WRITE) < 0 || mlock(slot, size) < 0)
            return false;
    }
    return true;
}

static void
init_book(struct secret_arena *arena, size_t slots, size_t slot_pages)
{
    size_t stride = (slot_pages + 1) * page_size();

    arena->slots = (uint32_t)slots;
    arena->slot_pages = slot_pages;
    arena->free = (uint32_t)((1u << slots) - 1);
    for (size_t i = 0; i < slots; i++)
        arena->bufs[i] =
            (struct secret_buf){.bytes = body_of((uint8_t *)arena) + i * stride, .arena = arena};
}

static struct secret_arena *
new_arena(size_t slots, size_t slot_pages, GError **error)
{
    size_t size = region_size(slots, slot_pages);
    uint8_t *region = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct secret_arena *arena = (struct secret_arena *)region;
    bool is_hidden;

    if (region == MAP_FAILED) {
        error_set_errno(error, ERROR_FROM_NONE, errno, "cannot map %zu pages of key memory",
                        slots * slot_pages);
        return NULL;
    }
    is_hidden = map_hidden(body_of(region), slots, slot_pages);
    if ((!is_hidden && !map_locked(body_of(region), slots, slot_pages)) ||
        mprotect(region, page_size(), PROT_READ | PROT_WRITE) < 0 ||
        madvise(region, page_size(), MADV_WIPEONFORK) < 0) {
        error_set_errno(error, ERROR_FROM_NONE, errno,
                        "cannot lock %zu bytes of key memory (see the limit LimitMEMLOCK)",
                        slots * slot_pages * page_size());
        munmap(region, size);
        return NULL;
    }
    watch_forks();
    init_book(arena, slots, slot_pages);
    arena->is_hidden = is_hidden;
    return arena;
}

static void
free_arena(struct secret_arena *arena)
{
    munmap(arena, region_size(arena->slots, arena->slot_pages));
}

/* ---- the list; the lock is held ---- */

static void
link_arena(struct secret_arena *arena, struct secret_arena **list)
{
    arena->next = *list;
    arena->link = list;
    if (arena->next)
        arena->next->link = &arena->next;
    *list = arena;
}

static void
unlink_arena(struct secret_arena *arena)
{
    *arena->link = arena->next;
    if (arena->next)
        arena->next->link = arena->link;
}

/* As little as one slot where the limit of locked memory is near. */
static bool
add_arena(GError **error)
{
    struct secret_arena *arena = new_arena(SLOTS, 1, NULL);

    if (!arena)
        arena = new_arena(1, 1, error);
    if (!arena)
        return false;
    link_arena(arena, &with_free);
    spare_count += arena->slots;
    return true;
}

static struct secret_buf *
take_slot(struct secret_arena *arena)
{
    int slot = __builtin_ctz(arena->free);

    arena->free &= arena->free - 1;
    spare_count--;
    if (arena->free == 0)
        unlink_arena(arena);
    return &arena->bufs[slot];
}

static void
put_slot(struct secret_arena *arena, const struct secret_buf *buf)
{
    if (arena->free == 0)
        link_arena(arena, &with_free);
    arena->free |= 1u << (buf - arena->bufs);
    spare_count++;
    if (arena->free == (1u << arena->slots) - 1 && spare_count - arena->slots >= SPARE_MAX) {
        unlink_arena(arena);
        spare_count -= arena->slots;
        free_arena(arena);
    }
}

/* NULL: none of that size is kept. */
static struct secret_arena *
find_large(size_t pages)
{
    struct secret_arena *arena = large;

    while (arena && arena->slot_pages != pages)
        arena = arena->next;
    return arena;
}

static struct secret_arena *
take_large(size_t pages)
{
    struct secret_arena *arena;

    g_mutex_lock(&lock);
    arena = find_large(pages);
    if (arena) {
        unlink_arena(arena);
        large_pages -= pages;
    }
    g_mutex_unlock(&lock);
    return arena;
}

static bool
keep_large(struct secret_arena *arena)
{
    bool kept;

    g_mutex_lock(&lock);
    kept = arena->slot_pages <= LARGE_KEPT_MAX &&
           large_pages + arena->slot_pages <= LARGE_KEPT_PAGES_MAX;
    if (kept) {
        link_arena(arena, &large);
        large_pages += arena->slot_pages;
    }
    g_mutex_unlock(&lock);
    return kept;
}

/* Few sizes, so that what is kept fits. */
static size_t
round_up(size_t pages)
{
    size_t rounded = 2;

    while (rounded < pages)
        rounded *= 2;
    return rounded <= LARGE_KEPT_MAX ? rounded : pages;
}

/* ---- for secret_buf.c ---- */

struct secret_buf *
secret_arena_take(size_t pages, GError **error)
{
    struct secret_buf *buf = NULL;

    if (pages > 1) {
        size_t rounded = round_up(pages);
        struct secret_arena *arena = take_large(rounded);

        if (!arena)
            arena = new_arena(1, rounded, error);
        return arena ? &arena->bufs[0] : NULL;
    }
    g_mutex_lock(&lock);
    if (with_free || add_arena(error))
        buf = take_slot(with_free);
    g_mutex_unlock(&lock);
    return buf;
}

void
secret_arena_put(struct secret_buf *buf)
{
    struct secret_arena *arena = buf->arena;

    if (!arena) /* inherited by a forked child */
        return;
    if (arena->slot_pages > 1) {
        if (!keep_large(arena))
            free_arena(arena);
        return;
    }
    g_mutex_lock(&lock);
    put_slot(arena, buf);
    g_mutex_unlock(&lock);
}

bool
secret_arena_is_hidden(const struct secret_arena *arena)
{
    return arena->is_hidden;
}

/* -1 with errno. */
static ssize_t
read_by_page(int fd, uint8_t *bytes, size_t len)
{
    size_t size = page_size();
    uint8_t *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ssize_t got = -1;

    if (page == MAP_FAILED)
        return -1;
    if (madvise(page, size, MADV_DONTDUMP) == 0 && madvise(page, size, MADV_WIPEONFORK) == 0 &&
        mlock(page, size) == 0)
        got = read(fd, page, MIN(len, size));
    if (got > 0)
        memcpy(bytes, page, (size_t)got);
    explicit_bzero(page, size);
    if (munmap(page, size) < 0)
        return -1;
    return got;
}

ssize_t
secret_arena_read(int fd, uint8_t *bytes, size_t len)
{
    ssize_t got = read(fd, bytes, len);

    return got < 0 && errno == EFAULT ? read_by_page(fd, bytes, len) : got;
}
