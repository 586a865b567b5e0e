/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the end of the audit. A line is made of the one before it and of its members alone, so that
 * repeating it writes the same bytes to the same place.
 */
#include "secret/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/audit_line.h"
#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(audit,
                 "openat newfstatat pread64 pwrite64 fallocate ftruncate fsync fdatasync geteuid");

enum { DIR_MODE = 0700, FILE_MODE = 0600, LINE_EXTRA = AUDIT_LINE_MAX - AUDIT_MEMBERS_MAX };

struct audit {
    char *path;
    char *name;
    file_fd dir_fd;
    file_fd fd;
    off_t end;                     /* of the last line, when it is known */
    struct audit_line_chain chain; /* what the next line follows */
    bool is_known;
    off_t reserved; /* end of what was reserved */
    bool is_touched;
};

struct audit *
audit_new(const char *path)
{
    struct audit *audit = g_new0(struct audit, 1);

    audit->dir_fd = -1;
    audit->fd = -1;
    audit->path = g_strdup(path);
    audit->name = path ? g_path_get_basename(path) : NULL;
    return audit;
}

void
audit_free(struct audit *audit)
{
    if (!audit)
        return;
    file_fd_clear(&audit->fd);
    file_fd_clear(&audit->dir_fd);
    g_free(audit->name);
    g_free(audit->path);
    g_free(audit);
}

static bool
fail(const struct audit *audit, const char *what, GError **error)
{
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot %s the audit %s", what, audit->path);
    return false;
}

static bool
refuse_foreign(const struct audit *audit, GError **error)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "the audit %s is not a regular file of root's; move it away", audit->path);
    return false;
}

static bool
refuse_damaged(const struct audit *audit, GError **error)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "the end of the audit %s is damaged or was changed: move it away, and a new one is "
              "begun",
              audit->path);
    return false;
}

/* Whether the file that is open is still the one of that name, and nobody else wrote to it. */
static bool
is_current(const struct audit *audit)
{
    struct stat info;
    struct stat open_info;

    return audit->fd >= 0 && fstatat(audit->dir_fd, audit->name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstat(audit->fd, &open_info) == 0 && info.st_ino == open_info.st_ino &&
           info.st_dev == open_info.st_dev && audit->is_known && info.st_size == audit->end;
}

static int
open_at(const struct audit *audit, int flags)
{
    return openat(audit->dir_fd, audit->name,
                  O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags, FILE_MODE);
}

/* Durable in its folder: who made it may have been killed before it could flush that. */
static bool
open_file(struct audit *audit, GError **error)
{
    g_autofree char *dir = NULL;
    struct stat info;

    if (!audit->path) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "this store has no audit, and the change needs a line in it");
        return false;
    }
    dir = g_path_get_dirname(audit->path);
    file_fd_clear(&audit->fd);
    file_fd_clear(&audit->dir_fd);
    audit->is_known = false;
    audit->reserved = 0;
    audit->dir_fd = file_open_dir(dir, true, DIR_MODE, error);
    if (audit->dir_fd < 0)
        return false;
    audit->fd = open_at(audit, 0);
    if (audit->fd < 0 && errno == ENOENT)
        audit->fd = open_at(audit, O_CREAT | O_EXCL);
    if (audit->fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
        return refuse_foreign(audit, error);
    if (audit->fd < 0 || fstat(audit->fd, &info) < 0)
        return fail(audit, "open", error);
    if (!S_ISREG(info.st_mode) || (info.st_uid != 0 && info.st_uid != geteuid()))
        return refuse_foreign(audit, error);
    return fsync(audit->dir_fd) == 0 || fail(audit, "flush the folder of", error);
}

/* The end of the file, as far as it was read. */
struct tail {
    GBytes *bytes;
    const char *text;
    size_t len;
    size_t at;     /* of the next line */
    bool is_whole; /* it is all of the file */
};

static void
clear_tail(struct tail *tail)
{
    g_clear_pointer(&tail->bytes, g_bytes_unref);
}

typedef struct tail audit_tail; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(audit_tail, clear_tail)

static bool
read_tail(const struct audit *audit, size_t max, struct tail *ret_tail, GError **error)
{
    g_autofree uint8_t *bytes = NULL;
    struct stat info;
    size_t len;
    size_t done = 0;
    ssize_t got = 1;

    if (fstat(audit->fd, &info) < 0)
        return fail(audit, "examine", error);
    len = MIN((size_t)info.st_size, max);
    bytes = g_malloc(len + 1);
    while (done < len && got > 0) {
        got = pread(audit->fd, bytes + done, len - done, info.st_size - (off_t)(len - done));
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got < 0)
            return fail(audit, "read", error);
        else
            done += (size_t)got;
    }
    if (done < len)
        return refuse_damaged(audit, error);
    ret_tail->is_whole = len == (size_t)info.st_size;
    ret_tail->bytes = g_bytes_new_take(g_steal_pointer(&bytes), len);
    ret_tail->text = g_bytes_get_data(ret_tail->bytes, &ret_tail->len);
    ret_tail->at = 0;
    return true;
}

/* The next line that ends; false when there is none. */
static bool
next_line(const struct tail *tail, const char **ret_line, size_t *ret_len)
{
    const char *line = tail->text + tail->at;
    const char *newline = memchr(line, '\n', tail->len - tail->at);

    if (!newline)
        return false;
    *ret_line = line;
    *ret_len = (size_t)(newline - line);
    return true;
}

/* Of the tail: the first line is behind the one that was cut, and what it says of itself counts. */
static bool
begin_chain(struct tail *tail, struct audit_line_chain *ret_chain)
{
    struct audit_line first;
    const char *line;
    size_t len;

    audit_line_chain_init(ret_chain);
    if (tail->is_whole)
        return true;
    if (!next_line(tail, &line, &len))
        return false;
    tail->at += len + 1;
    if (!next_line(tail, &line, &len) || !audit_line_parse(line, len, &first))
        return false;
    ret_chain->next_seq = first.seq;
    g_strlcpy(ret_chain->prev, first.prev, sizeof(ret_chain->prev));
    return true;
}

static bool
has_id(const GHashTable *ids, const char *line, size_t len)
{
    struct audit_line parsed;

    return audit_line_parse(line, len, &parsed) &&
           g_hash_table_contains((GHashTable *)ids, parsed.id);
}

/* Goes on to the first line that is in the journal, or does not follow, or does not end. */
static void
skip_older_lines(struct tail *tail, const GHashTable *ids, struct audit_line_chain *chain)
{
    const char *line;
    size_t len;

    while (next_line(tail, &line, &len) && !has_id(ids, line, len) &&
           audit_line_verify(chain, line, len, NULL))
        tail->at += len + 1;
}

/* Whether what is left of the tail may be what was written of lines of the journal, as a power cut
 * leaves it: no more of it than they have, and no whole line of another origin. */
static bool
is_explained(const struct tail *tail, const GHashTable *ids, size_t size)
{
    struct tail rest = *tail;
    const char *line;
    size_t len;

    if (rest.len - rest.at > size)
        return false;
    while (next_line(&rest, &line, &len)) {
        struct audit_line parsed;

        if (audit_line_parse(line, len, &parsed) &&
            !g_hash_table_contains((GHashTable *)ids, parsed.id))
            return false;
        rest.at += len + 1;
    }
    return true;
}

/* Finds where the lines with these ids begin, or would. `size`: of all of them at most. */
static bool
find_end(struct audit *audit, const GHashTable *ids, size_t size, GError **error)
{
    g_auto(audit_tail) tail = {0};
    struct stat info;

    if (!read_tail(audit, size + 2 * (size_t)AUDIT_LINE_MAX, &tail, error))
        return false;
    if (!begin_chain(&tail, &audit->chain))
        return refuse_damaged(audit, error);
    skip_older_lines(&tail, ids, &audit->chain);
    if (!is_explained(&tail, ids, size) || fstat(audit->fd, &info) < 0)
        return refuse_damaged(audit, error);
    audit->end = info.st_size - (off_t)(tail.len - tail.at);
    audit->is_known = true;
    return true;
}

/* Space for a line is not missing then when it was promised already. */
static bool
reserve(struct audit *audit, size_t len, GError **error)
{
    off_t from = MAX(audit->reserved, audit->end);

    if (fallocate(audit->fd, FALLOC_FL_KEEP_SIZE, from, (off_t)len + LINE_EXTRA) < 0 &&
        errno != EOPNOTSUPP && errno != ENOSYS)
        return fail(audit, "reserve space in", error);
    audit->reserved = from + (off_t)len + LINE_EXTRA;
    return true;
}

bool
audit_flush(struct audit *audit, GError **error)
{
    if (!audit->is_touched)
        return true;
    if (audit->fd < 0 || fdatasync(audit->fd) < 0) {
        audit->is_known = false;
        return fail(audit, "flush", error);
    }
    audit->is_touched = false;
    return true;
}

bool
audit_prepare(struct audit *audit, size_t len, GError **error)
{
    g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);

    if (is_current(audit))
        return reserve(audit, len, error);
    /* What is in a file that was moved away is not forgotten either. */
    return audit_flush(audit, error) && open_file(audit, error) &&
           find_end(audit, none, 0, error) && reserve(audit, len, error);
}

static bool
write_line(struct audit *audit, const char *members)
{
    struct audit_line_chain chain = audit->chain;
    g_autofree char *line = audit_line_format(&chain, members);
    size_t len = strlen(line);

    line[len] = '\n'; /* in place of the closing NUL */
    audit->is_touched = true;
    if (!file_write_all_at(audit->fd, line, len + 1, audit->end)) {
        audit->is_known = false;
        return false;
    }
    audit->end += (off_t)len + 1;
    audit->chain = chain;
    return true;
}

bool
audit_append(struct audit *audit, const char *members, GError **error)
{
    if (audit->is_known)
        return write_line(audit, members) || fail(audit, "write", error);
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
              "the audit %s could not be written before", audit->path);
    return false;
}

bool
audit_redo(struct audit *audit, const GPtrArray *audits, GError **error)
{
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    size_t size = 0;

    if (audits->len == 0)
        return true;
    for (guint i = 0; i < audits->len; i++) {
        const char *members = g_ptr_array_index(audits, i);
        char id[UUID_TEXT_SIZE];

        audit_line_find_id(members, id);
        g_hash_table_add(ids, g_strdup(id));
        size += strlen(members) + LINE_EXTRA;
    }
    if (!open_file(audit, error) || !find_end(audit, ids, size, error))
        return false;
    for (guint i = 0; i < audits->len; i++) {
        if (!write_line(audit, g_ptr_array_index(audits, i)))
            return fail(audit, "write", error);
    }
    return ftruncate(audit->fd, audit->end) == 0 || fail(audit, "cut", error);
}
