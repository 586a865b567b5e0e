/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the pages of key memory, of util/secret_buf.c alone. An arena is one mapping
 *
 *     [book][guard][slot][guard][slot]...[guard]
 *
 * whose slots are of memfd_secret(2), which the kernel itself has no mapping of: neither
 * /proc/PID/mem nor ptrace nor another kernel bug of that kind reads them. Where the kernel has no
 * such memory they are anonymous pages, locked. Either way they are left out of core dumps and of
 * swap, and a forked child has none of their bytes: the former are absent there, the latter zero.
 * The book has what is known of the slots and no key; in a forked child it is zero, so that a
 * buffer has length 0 there.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct secret_arena;

/* In the book of its arena. In a forked child all of it is zero. */
struct secret_buf {
    size_t len;
    uint8_t *bytes; /* of the slot, which begins a page */
    struct secret_arena *arena;
};

/* A slot of `pages` pages or a few more, all zero. Some are kept, so that most calls need no system
 * call. */
struct secret_buf *secret_arena_take(size_t pages, GError **error);

/* Its bytes have been wiped. */
void secret_arena_put(struct secret_buf *buf);

/* Whether it is of memfd_secret(2). */
bool secret_arena_is_hidden(const struct secret_arena *arena);

/* As read(2), to bytes of a slot: files that are read without the page cache (direct I/O of FUSE)
 * go through a page in between, which is wiped, as nothing is read straight to hidden pages. */
ssize_t secret_arena_read(int fd, uint8_t *bytes, size_t len);
