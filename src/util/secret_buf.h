/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the one type that key bytes live in. The bytes sit in pages of their own between two
 * guard pages, which the kernel has no mapping of where it can do that (memfd_secret(2)), locked in
 * memory, left out of core dumps and of forked children, and are wiped when the buffer is freed.
 * There is no `char *` view, no realloc and no dup on purpose.
 * Invariant: len never grows, and bytes past len are zero. A forked child sees every buffer it
 * inherits as one of length 0; an address of bytes from before the fork is nothing there.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct secret_buf;

/* The largest buffer that can be asked for, in bytes. */
#define SECRET_BUF_MAX (64u * 1024 * 1024)

/* A new zeroed buffer of `len` bytes (0 is allowed), or NULL with an error if memory can't be had
 * or locked. Thread-safe, as is secret_buf_free. */
struct secret_buf *secret_buf_new(size_t len, GError **error);

/* `len` bytes from the kernel's random generator (getrandom(2)). */
struct secret_buf *secret_buf_new_random(size_t len, GError **error);

/* A buffer filled from `bytes`, which are wiped whether or not this succeeds. */
struct secret_buf *secret_buf_take_bytes(void *bytes, size_t len, GError **error);

/* A buffer filled from `bytes`, which stay with the caller (who wipes them). */
struct secret_buf *secret_buf_new_from(const void *bytes, size_t len, GError **error);

/* Reads `fd` to its end; more than `max` bytes is an error. The caller owns `fd`. */
struct secret_buf *secret_buf_read_fd(int fd, size_t max, GError **error);

/* Wipes and frees; NULL is allowed. */
void secret_buf_free(struct secret_buf *buf);

/* Whether root, too, can't read its pages through the kernel (/proc/PID/mem, ptrace): the kernel
 * has memfd_secret(2). Not of a buffer that a forked child inherited. */
bool secret_buf_is_hidden(const struct secret_buf *buf);

/* Of NULL: 0, and NULL. */
size_t secret_buf_len(const struct secret_buf *buf);
const uint8_t *secret_buf_bytes(const struct secret_buf *buf);
uint8_t *secret_buf_writable(struct secret_buf *buf);

/* Shortens to `len`, wiping what is cut off. Longer than now is a bug of the caller. */
void secret_buf_truncate(struct secret_buf *buf, size_t len);

/* Wipes the bytes and keeps the buffer and its length. */
void secret_buf_wipe(struct secret_buf *buf);

/* Compares in time that depends on the lengths only. */
bool secret_buf_equal(const struct secret_buf *a, const struct secret_buf *b);

/* The same for plain memory of equal length, such as a token or a tag. */
bool secret_bytes_equal(const void *a, const void *b, size_t len);

typedef struct secret_buf secret_buf_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(secret_buf_t, secret_buf_free)
