/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: pages of the audit. Where the last page ended is kept, so that going on from there reads
 * nothing twice.
 */
#include "secret/audit_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/audit_line.h"
#include "util/error.h"
#include "util/file_place.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(audit_reader, "newfstatat pread64");

enum { CHUNK_SIZE = 64 * 1024 };

struct audit_reader {
    char *path; /* or NULL */
    /* Where line `number` of this file begins. */
    dev_t dev;
    ino_t ino;
    uint64_t number;
    off_t at;
};

struct audit_reader *
audit_reader_new(const char *path)
{
    struct audit_reader *reader = g_new0(struct audit_reader, 1);

    reader->path = g_strdup(path);
    return reader;
}

void
audit_reader_free(struct audit_reader *reader)
{
    if (!reader)
        return;
    g_free(reader->path);
    g_free(reader);
}

/* -1 without an error when there is none. */
static int
open_file(const struct audit_reader *reader, GError **error)
{
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) fd = -1;

    if (file_place_open(reader->path, false, &place, &failure))
        fd = file_open_read(place.dir_fd, place.name, &failure);
    if (fd < 0 && error_get_errno(failure) != ENOENT) {
        g_propagate_error(error, g_steal_pointer(&failure));
        g_prefix_error(error, "the audit %s: ", reader->path);
    }
    return g_steal_fd(&fd);
}

/* Lines on their way from the file to the caller. */
struct page {
    uint64_t from;
    size_t max;
    GPtrArray *lines;
    size_t bytes;  /* of all of them */
    GString *line; /* that did not end yet */
    off_t at;      /* of the byte after those seen */
};

static bool
is_full(const struct page *page)
{
    return page->lines->len >= page->max || page->bytes >= AUDIT_READER_BYTES_MAX;
}

static void
end_line(struct audit_reader *reader, struct page *page)
{
    if (reader->number >= page->from) {
        g_ptr_array_add(page->lines, g_strdup(page->line->str));
        page->bytes += page->line->len;
    }
    g_string_truncate(page->line, 0);
    reader->number++;
    reader->at = page->at;
}

/* A line longer than any of ours is cut: it is damaged whatever stands in it. */
static void
add_to_line(struct page *page, const char *bytes, size_t len)
{
    size_t room = AUDIT_LINE_MAX - MIN(page->line->len, (size_t)AUDIT_LINE_MAX);

    g_string_append_len(page->line, bytes, (gssize)MIN(len, room));
}

/* False when the page is full: a line that ends follows it. */
static bool
take_chunk(struct audit_reader *reader, struct page *page, const char *bytes, size_t len)
{
    while (len > 0) {
        const char *newline = memchr(bytes, '\n', len);
        size_t part = newline ? (size_t)(newline - bytes) : len;

        if (newline && is_full(page))
            return false;
        if (reader->number >= page->from && !is_full(page))
            add_to_line(page, bytes, part);
        part += newline != NULL;
        page->at += (off_t)part;
        if (newline)
            end_line(reader, page);
        bytes += part;
        len -= part;
    }
    return true;
}

static bool
read_page(struct audit_reader *reader, int fd, struct page *page, bool *ret_more, GError **error)
{
    g_autofree char *chunk = g_malloc(CHUNK_SIZE);
    ssize_t got;

    *ret_more = false;
    while (!*ret_more && (got = pread(fd, chunk, CHUNK_SIZE, page->at)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot read the audit %s",
                            reader->path);
            return false;
        }
        *ret_more = !take_chunk(reader, page, chunk, (size_t)got);
    }
    return true;
}

/* Back to the start, unless line `from` is behind what is known of this very file. */
static bool
find_start(struct audit_reader *reader, int fd, uint64_t from, GError **error)
{
    struct stat info;

    if (fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot examine the audit %s",
                        reader->path);
        return false;
    }
    if (info.st_dev == reader->dev && info.st_ino == reader->ino && info.st_size >= reader->at &&
        from >= reader->number)
        return true;
    reader->dev = info.st_dev;
    reader->ino = info.st_ino;
    reader->number = 0;
    reader->at = 0;
    return true;
}

GPtrArray *
audit_reader_read(struct audit_reader *reader, uint64_t from, size_t max, bool *ret_more,
                  GError **error)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) line = g_string_new(NULL);
    struct page page = {.from = from, .max = max, .lines = lines, .line = line};
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) fd = reader->path ? open_file(reader, &failure) : -1;
    bool more = false;

    if (fd >= 0 && find_start(reader, fd, from, &failure)) {
        page.at = reader->at;
        read_page(reader, fd, &page, &more, &failure);
    }
    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    *ret_more = more;
    return g_steal_pointer(&lines);
}
