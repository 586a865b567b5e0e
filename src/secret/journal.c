/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the journal's bytes (docs/store.md). All of it was written once when the file was made, so
 * that a commit changes no metadata. Two heads take turns: starting an epoch never overwrites the
 * head that counts until the new one does. A record belongs to one epoch, so a stale one can't
 * come back.
 */
#include "secret/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/big_endian.h"
#include "util/error.h"
#include "util/file.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(
    journal,
    "openat newfstatat flock fsync fdatasync geteuid pread64 pwrite64 renameat renameat2 unlinkat");

enum { FORMAT_VERSION = 1, DIGEST_SIZE = 32, SECTOR_SIZE = 512 };

/* A head, HEAD_SPACING apart. The digest is of what stands before it. */
enum {
    HEAD_AT_MAGIC = 0,
    HEAD_AT_VERSION = 8,
    HEAD_AT_CAPACITY = 16,
    HEAD_AT_EPOCH = 24,
    HEAD_AT_DIGEST = 32,
    HEAD_COUNT = 2,
    HEAD_SPACING = 4096,
    RECORDS_AT = HEAD_COUNT * HEAD_SPACING,
};

/* A record, at a multiple of SECTOR_SIZE. The digest is of what stands after it. */
enum {
    RECORD_AT_DIGEST = 0,
    RECORD_AT_MAGIC = 32,
    RECORD_AT_LEN = 36,
    RECORD_AT_EPOCH = 40,
    RECORD_AT_SEQUENCE = 48,
    RECORD_AT_PAYLOAD = 64,
};

/* Bounds of what a head may say. */
enum { CAPACITY_MIN = 16 * SECTOR_SIZE, CAPACITY_MAX = 64 * 1024 * 1024 };
static const uint64_t EPOCH_MAX = UINT64_MAX / 2;

static const uint8_t head_magic[8] = {'V', 'C', 'J', 'O', 'U', 'R', 'N', 'L'};
static const uint8_t record_magic[4] = {'V', 'C', 'J', 'R'};

struct journal {
    char *path; /* for error texts */
    file_fd fd;
    size_t capacity;
    uint64_t epoch;
    uint64_t sequence; /* of the next committed record */
    size_t end;        /* of committed records */
    size_t dirty_end;  /* behind it there are only zeros on disk */
    bool failed;       /* what is on disk behind `end` is not known */
    GByteArray *batch;
    uint64_t batch_count;
};

static void
digest(const void *bytes, size_t len, uint8_t ret_digest[DIGEST_SIZE])
{
    int rc = gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, len, ret_digest);

    g_assert(rc == 0); /* fails for an unknown algorithm only */
}

static size_t
record_size(size_t len)
{
    return (RECORD_AT_PAYLOAD + len + SECTOR_SIZE - 1) / SECTOR_SIZE * SECTOR_SIZE;
}

/* Reads up to `len` bytes; fewer only at the end of the file. */
static ssize_t
pread_all(int fd, uint8_t *bytes, size_t len, off_t at)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = pread(fd, bytes + done, len - done, at + (off_t)done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static bool
write_head(int fd, size_t capacity, uint64_t epoch)
{
    uint8_t head[SECTOR_SIZE] = {0};

    memcpy(head + HEAD_AT_MAGIC, head_magic, sizeof(head_magic));
    big_endian_put(head + HEAD_AT_VERSION, FORMAT_VERSION, 4);
    big_endian_put(head + HEAD_AT_CAPACITY, capacity, 8);
    big_endian_put(head + HEAD_AT_EPOCH, epoch, 8);
    digest(head, HEAD_AT_DIGEST, head + HEAD_AT_DIGEST);
    return file_write_all_at(fd, head, sizeof(head), (off_t)(epoch % HEAD_COUNT) * HEAD_SPACING);
}

static char *
describe_path(int dir_fd, const char *name)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", dir_fd);
    g_autofree char *folder = g_file_read_link(link, NULL);

    return folder ? g_build_filename(folder, name, NULL) : g_strdup(name);
}

/* Another process may have made one meanwhile. */
static bool
rename_new(int dir_fd, const char *new_name, const char *name)
{
    if (renameat2(dir_fd, new_name, dir_fd, name, RENAME_NOREPLACE) == 0)
        return true;
    /* Some file systems can't, and say so in this way. */
    return errno == EINVAL && renameat(dir_fd, new_name, dir_fd, name) == 0;
}

/* Makes the file under a temporary name: the rename is the commit point. */
static bool
create_file(int dir_fd, const char *name, size_t capacity)
{
    g_autofree char *new_name = g_strconcat(name, ".new", NULL);
    g_auto(file_fd) fd = -1;

    if (unlinkat(dir_fd, new_name, 0) < 0 && errno != ENOENT)
        return false;
    fd = openat(dir_fd, new_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && file_write_zeros_at(fd, RECORDS_AT + capacity, 0) &&
        write_head(fd, capacity, 1) && fsync(fd) == 0 && rename_new(dir_fd, new_name, name))
        return true;
    if (fd >= 0) {
        int saved_errno = errno;

        unlinkat(dir_fd, new_name, 0);
        errno = saved_errno;
    }
    return false;
}

static int
open_file(int dir_fd, const char *name)
{
    return openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static void
set_foreign(GError **error, const struct journal *journal)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "the journal %s is not a regular file of root's", journal->path);
}

/* Makes it if there is none. Durable in its folder when it is used: the process that made it may
 * have been killed before it could flush that. */
static bool
open_or_create(struct journal *journal, int dir_fd, const char *name, size_t capacity,
               GError **error)
{
    journal->fd = open_file(dir_fd, name);
    if (journal->fd < 0 && errno == ENOENT &&
        (create_file(dir_fd, name, capacity) || errno == EEXIST))
        journal->fd = open_file(dir_fd, name);
    if (journal->fd >= 0 && fsync(dir_fd) == 0)
        return true;
    /* A link, a folder, a socket. */
    if (journal->fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
        set_foreign(error, journal);
    else
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot open the journal %s",
                        journal->path);
    return false;
}

static bool
check_file(const struct journal *journal, GError **error)
{
    struct stat info;

    if (fstat(journal->fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot examine the journal %s",
                        journal->path);
        return false;
    }
    if (!S_ISREG(info.st_mode) || (info.st_uid != 0 && info.st_uid != geteuid())) {
        set_foreign(error, journal);
        return false;
    }
    if (flock(journal->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        error_set(error, ERROR_FROM_SECRET, ERROR_RESOURCE_BUSY,
                  "the journal %s is in use by another process; is the daemon running already?",
                  journal->path);
        return false;
    }
    return true;
}

/* Reads a head; its version when it has the magic, else 0. *ret_whole: and it may be used. */
static uint32_t
parse_head(const uint8_t *head, size_t *ret_capacity, uint64_t *ret_epoch, bool *ret_whole)
{
    uint8_t expected[DIGEST_SIZE];
    uint32_t version = (uint32_t)big_endian_get(head + HEAD_AT_VERSION, 4);

    *ret_whole = false;
    if (memcmp(head, head_magic, sizeof(head_magic)) != 0)
        return 0;
    digest(head, HEAD_AT_DIGEST, expected);
    *ret_capacity = big_endian_get(head + HEAD_AT_CAPACITY, 8);
    *ret_epoch = big_endian_get(head + HEAD_AT_EPOCH, 8);
    *ret_whole = version == FORMAT_VERSION &&
                 memcmp(head + HEAD_AT_DIGEST, expected, DIGEST_SIZE) == 0 &&
                 *ret_capacity >= CAPACITY_MIN && *ret_capacity <= CAPACITY_MAX &&
                 *ret_capacity % SECTOR_SIZE == 0 && *ret_epoch > 0 && *ret_epoch < EPOCH_MAX;
    return version;
}

/* Finds the head of the newest epoch. */
static bool
read_heads(struct journal *journal, GError **error)
{
    uint8_t heads[RECORDS_AT] = {0};
    uint32_t newest_version = 0;
    bool found = false;

    if (pread_all(journal->fd, heads, sizeof(heads), 0) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot read the journal %s",
                        journal->path);
        return false;
    }
    for (size_t i = 0; i < HEAD_COUNT; i++) {
        size_t capacity = 0;
        uint64_t epoch = 0;
        bool whole = false;
        uint32_t version = parse_head(heads + i * HEAD_SPACING, &capacity, &epoch, &whole);

        newest_version = MAX(newest_version, version);
        if (!whole || epoch % HEAD_COUNT != i || (found && epoch <= journal->epoch))
            continue;
        found = true;
        journal->capacity = capacity;
        journal->epoch = epoch;
    }
    if (!found && newest_version > FORMAT_VERSION)
        error_set(error, ERROR_FROM_SECRET, ERROR_CONFIG_UNSUPPORTED,
                  "the journal %s has format %u, and this program knows format %d: let the newer "
                  "virtcrypt that wrote it start and stop once",
                  journal->path, newest_version, FORMAT_VERSION);
    else if (!found)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "the journal %s is damaged or not one of virtcrypt's", journal->path);
    return found;
}

/* The length of the payload of the whole record at `at`, or -1. */
static ssize_t
parse_record(const struct journal *journal, const uint8_t *records, size_t at, uint64_t sequence)
{
    const uint8_t *record = records + at;
    uint8_t expected[DIGEST_SIZE];
    size_t len;

    if (journal->capacity - at < SECTOR_SIZE ||
        memcmp(record + RECORD_AT_MAGIC, record_magic, sizeof(record_magic)) != 0)
        return -1;
    len = big_endian_get(record + RECORD_AT_LEN, 4);
    if (len > journal->capacity || record_size(len) > journal->capacity - at ||
        big_endian_get(record + RECORD_AT_EPOCH, 8) != journal->epoch ||
        big_endian_get(record + RECORD_AT_SEQUENCE, 8) != sequence)
        return -1;
    digest(record + RECORD_AT_MAGIC, RECORD_AT_PAYLOAD - RECORD_AT_MAGIC + len, expected);
    return memcmp(record, expected, DIGEST_SIZE) == 0 ? (ssize_t)len : -1;
}

static uint8_t *
read_records(const struct journal *journal, ssize_t *ret_len, GError **error)
{
    g_autofree uint8_t *records = g_malloc0(journal->capacity);

    *ret_len = pread_all(journal->fd, records, journal->capacity, RECORDS_AT);
    if (*ret_len < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot read the journal %s",
                        journal->path);
        return NULL;
    }
    return g_steal_pointer(&records);
}

/* Finds where the committed records end, and whether anything follows them. */
static bool
find_end(struct journal *journal, GError **error)
{
    ssize_t got = 0;
    g_autofree uint8_t *records = read_records(journal, &got, error);
    ssize_t len;

    if (!records)
        return false;
    while ((len = parse_record(journal, records, journal->end, journal->sequence)) >= 0) {
        journal->end += record_size((size_t)len);
        journal->sequence++;
    }
    journal->dirty_end = (size_t)got < journal->capacity ? journal->capacity : (size_t)got;
    while ((size_t)got == journal->capacity && journal->dirty_end > journal->end &&
           records[journal->dirty_end - 1] == 0)
        journal->dirty_end--;
    return true;
}

struct journal *
journal_open(int dir_fd, const char *name, size_t capacity, GError **error)
{
    g_autoptr(journal_t) journal = g_new0(struct journal, 1);

    journal->fd = -1;
    journal->path = describe_path(dir_fd, name);
    journal->batch = g_byte_array_new();
    if (!open_or_create(journal, dir_fd, name, capacity, error) || !check_file(journal, error) ||
        !read_heads(journal, error) || !find_end(journal, error))
        return NULL;
    return g_steal_pointer(&journal);
}

void
journal_free(struct journal *journal)
{
    if (!journal)
        return;
    file_fd_clear(&journal->fd);
    g_byte_array_unref(journal->batch);
    g_free(journal->path);
    g_free(journal);
}

bool
journal_settle(struct journal *journal, GError **error)
{
    ssize_t got = 0;
    g_autofree uint8_t *records = NULL;

    /* Zeros are written only under a head that is durable. */
    if (journal_is_clean(journal))
        return true;
    records = read_records(journal, &got, error);
    if (!records)
        return false;
    if (write_head(journal->fd, journal->capacity, journal->epoch) &&
        file_write_all_at(journal->fd, records, journal->end, RECORDS_AT) &&
        fdatasync(journal->fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot write the journal %s", journal->path);
    return false;
}

bool
journal_replay(struct journal *journal, journal_replay_func replay, void *opaque, GError **error)
{
    ssize_t got = 0;
    g_autofree uint8_t *records = read_records(journal, &got, error);
    uint64_t sequence = 0;
    size_t at = 0;

    if (!records)
        return false;
    while (at < journal->end) {
        ssize_t len = parse_record(journal, records, at, sequence++);

        if (len < 0) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                      "the journal %s was changed by another program", journal->path);
            return false;
        }
        if (!replay(records + at + RECORD_AT_PAYLOAD, (size_t)len, opaque, error))
            return false;
        at += record_size((size_t)len);
    }
    return true;
}

bool
journal_has_room(const struct journal *journal, size_t len)
{
    return len <= CAPACITY_MAX &&
           record_size(len) <= journal->capacity - journal->end - journal->batch->len;
}

bool
journal_fits(const struct journal *journal, size_t len)
{
    return len <= CAPACITY_MAX && record_size(len) <= journal->capacity;
}

void
journal_append(struct journal *journal, const void *record, size_t len)
{
    size_t at = journal->batch->len;
    size_t size = record_size(len);
    uint8_t *bytes;

    g_assert(journal_has_room(journal, len));
    g_byte_array_set_size(journal->batch, (guint)(at + size));
    bytes = journal->batch->data + at;
    memset(bytes, 0, size);
    memcpy(bytes + RECORD_AT_MAGIC, record_magic, sizeof(record_magic));
    big_endian_put(bytes + RECORD_AT_LEN, len, 4);
    big_endian_put(bytes + RECORD_AT_EPOCH, journal->epoch, 8);
    big_endian_put(bytes + RECORD_AT_SEQUENCE, journal->sequence + journal->batch_count, 8);
    memcpy(bytes + RECORD_AT_PAYLOAD, record, len);
    digest(bytes + RECORD_AT_MAGIC, RECORD_AT_PAYLOAD - RECORD_AT_MAGIC + len, bytes);
    journal->batch_count++;
}

void
journal_discard(struct journal *journal)
{
    g_byte_array_set_size(journal->batch, 0);
    journal->batch_count = 0;
}

bool
journal_commit(struct journal *journal, GError **error)
{
    if (journal->batch->len == 0)
        return true;
    if (journal->failed) {
        journal_discard(journal);
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "the journal %s could not be written before", journal->path);
        return false;
    }
    journal->dirty_end = MAX(journal->dirty_end, journal->end + journal->batch->len);
    if (!file_write_all_at(journal->fd, journal->batch->data, journal->batch->len,
                           RECORDS_AT + (off_t)journal->end) ||
        fdatasync(journal->fd) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot write the journal %s",
                        journal->path);
        journal->failed = true;
        journal_discard(journal);
        return false;
    }
    journal->end += journal->batch->len;
    journal->sequence += journal->batch_count;
    journal_discard(journal);
    return true;
}

bool
journal_reset(struct journal *journal, GError **error)
{
    journal_discard(journal);
    /* The head is durable before a record is overwritten: a torn overwrite would leave the first
     * records without those that supersede them. */
    if (!write_head(journal->fd, journal->capacity, journal->epoch + 1) ||
        fdatasync(journal->fd) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot write the journal %s",
                        journal->path);
        journal->failed = true;
        return false;
    }
    journal->epoch++;
    journal->end = 0;
    journal->sequence = 0;
    if (!file_write_zeros_at(journal->fd, journal->dirty_end, RECORDS_AT) ||
        fdatasync(journal->fd) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot overwrite the journal %s",
                        journal->path);
        journal->failed = true;
        return false;
    }
    journal->dirty_end = 0;
    journal->failed = false;
    return true;
}

bool
journal_is_empty(const struct journal *journal)
{
    return journal->end == 0;
}

bool
journal_is_clean(const struct journal *journal)
{
    return journal->dirty_end == 0 && !journal->failed;
}

bool
journal_is_half_full(const struct journal *journal)
{
    return journal->end > journal->capacity / 2;
}
