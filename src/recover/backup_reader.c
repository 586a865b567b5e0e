/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: that reading. The file is held open; where its chunks are follows from its size, and a size
 * that is not the right one shows in the last chunk.
 */
#include "recover/backup_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

struct backup_reader {
    char *path;
    file_fd fd;
    uint64_t size;
    struct backup_head head;
    GBytes *head_bytes; /* with the slots */
    struct slots *slots;
    struct backup_chunks *chunks; /* NULL: locked */
};

void
backup_reader_free(struct backup_reader *reader)
{
    if (!reader)
        return;
    backup_chunks_free(reader->chunks);
    slots_free(reader->slots);
    g_clear_pointer(&reader->head_bytes, g_bytes_unref);
    file_fd_clear(&reader->fd);
    g_free(reader->path);
    g_free(reader);
}

static bool
set_read_error(const struct backup_reader *reader, ssize_t got, GError **error)
{
    if (got < 0)
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot read %s", reader->path);
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET, "the backup %s is cut off",
                  reader->path);
    return false;
}

static bool
read_at(const struct backup_reader *reader, uint64_t at, uint8_t *to, size_t len, GError **error)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = pread(reader->fd, to + done, len - done, (off_t)(at + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return set_read_error(reader, got, error);
        done += (size_t)got;
    }
    return true;
}

static bool
open_file(struct backup_reader *reader, GError **error)
{
    struct stat info;

    reader->fd = open(reader->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (reader->fd < 0 || fstat(reader->fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot open %s", reader->path);
        return false;
    }
    if (!S_ISREG(info.st_mode)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "%s is not a regular file",
                  reader->path);
        return false;
    }
    reader->size = (uint64_t)info.st_size;
    return true;
}

static bool
read_head(struct backup_reader *reader, GError **error)
{
    uint8_t fixed[BACKUP_HEAD_SIZE];
    size_t len;
    uint8_t *bytes;

    if (!read_at(reader, 0, fixed, sizeof(fixed), error) ||
        !backup_head_parse(fixed, &reader->head, error))
        return false;
    len = BACKUP_HEAD_SIZE + reader->head.slots_len;
    if (reader->size < len + AEAD_TAG_SIZE)
        return set_read_error(reader, 0, error);
    bytes = g_malloc(len);
    reader->head_bytes = g_bytes_new_take(bytes, len);
    if (!read_at(reader, 0, bytes, len, error))
        return false;
    reader->slots = slots_parse(bytes + BACKUP_HEAD_SIZE, reader->head.slots_len, error);
    return reader->slots != NULL;
}

struct backup_reader *
backup_reader_open(const char *path, GError **error)
{
    g_autoptr(backup_reader_t) reader = g_new0(struct backup_reader, 1);

    reader->path = g_strdup(path);
    reader->fd = -1;
    return open_file(reader, error) && read_head(reader, error) ? g_steal_pointer(&reader) : NULL;
}

const struct slots *
backup_reader_slots(const struct backup_reader *reader)
{
    return reader->slots;
}

bool
backup_reader_unlock(struct backup_reader *reader, const struct master_key *master, GError **error)
{
    const uint8_t *bytes = g_bytes_get_data(reader->head_bytes, NULL);

    if (!slots_authenticate(bytes + BACKUP_HEAD_SIZE, reader->head.slots_len, master, error))
        return false;
    reader->chunks = backup_chunks_open(master, reader->head_bytes, error);
    return reader->chunks != NULL;
}

/* ---- the content ---- */

struct run {
    struct backup_reader *reader;
    struct backup_records *records;
    uint64_t chunks;
    uint8_t *sealed; /* BACKUP_SEALED_SIZE bytes */
};

/* Where the chunk is; less than AEAD_TAG_SIZE bytes: it is cut off. */
static size_t
place_chunk(const struct run *run, uint64_t number, uint64_t *ret_at)
{
    *ret_at = g_bytes_get_size(run->reader->head_bytes) + number * BACKUP_SEALED_SIZE;
    return (size_t)MIN(run->reader->size - *ret_at, BACKUP_SEALED_SIZE);
}

/* Its content; `is_last`: as which it was written. */
static struct secret_buf *
open_chunk(const struct run *run, uint64_t number, bool is_last, GError **error)
{
    const struct backup_chunk chunk = {number, is_last};
    uint64_t at;
    size_t len = place_chunk(run, number, &at);
    g_autoptr(secret_buf_t) plain = NULL;

    if (len < AEAD_TAG_SIZE) {
        set_read_error(run->reader, 0, error);
        return NULL;
    }
    plain = secret_buf_new(len - AEAD_TAG_SIZE, error);
    return plain && read_at(run->reader, at, run->sealed, len, error) &&
                   backup_chunks_decrypt(run->reader->chunks, chunk, run->sealed, plain, error)
               ? g_steal_pointer(&plain)
               : NULL;
}

static bool
feed(const struct run *run, const struct secret_buf *plain, GError **error)
{
    return backup_records_feed(run->records, secret_buf_bytes(plain), secret_buf_len(plain), error);
}

static bool
run_chunk(const struct run *run, uint64_t number, GError **error)
{
    g_autoptr(secret_buf_t) plain = open_chunk(run, number, number + 1 == run->chunks, error);
    uint64_t at;
    size_t len = place_chunk(run, number, &at);

    if (plain)
        return feed(run, plain, error);
    g_prefix_error(error, "bytes %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT " of %s: ", at,
                   at + len, run->reader->path);
    return false;
}

static void
run_clear(struct run *run)
{
    backup_records_free(run->records);
    g_free(run->sealed);
}

typedef struct run run_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(run_t, run_clear)

static struct run
run_begin(struct backup_reader *reader, const struct backup_records_funcs *funcs, void *opaque)
{
    uint64_t content = reader->size - g_bytes_get_size(reader->head_bytes);

    return (struct run){
        .reader = reader,
        .records = backup_records_new(funcs, opaque),
        .chunks = (content + BACKUP_SEALED_SIZE - 1) / BACKUP_SEALED_SIZE,
        .sealed = g_malloc(BACKUP_SEALED_SIZE),
    };
}

static void
tell_progress(const struct run *run, const struct backup_progress *progress, uint64_t done)
{
    if (progress && progress->func)
        progress->func(progress->opaque, done, run->chunks);
}

bool
backup_reader_run(struct backup_reader *reader, const struct backup_records_funcs *funcs,
                  void *opaque, const struct backup_progress *progress, GError **error)
{
    g_auto(run_t) run = run_begin(reader, funcs, opaque);

    for (uint64_t number = 0; number < run.chunks; number++) {
        if (!run_chunk(&run, number, error))
            return false;
        tell_progress(&run, progress, number + 1);
    }
    return backup_records_finish(run.records, error);
}

/* ---- of a damaged one ---- */

/* What was begun before bytes that are not there. */
static void
end_begun(const struct run *run, GPtrArray *damage)
{
    char uuid[UUID_TEXT_SIZE];
    struct uuid secret;

    if (backup_records_note_gap(run->records, &secret))
        g_ptr_array_add(damage,
                        g_strdup_printf("secret %s begins before bytes that are damaged or missing",
                                        uuid_format(&secret, uuid)));
}

static void
note_gap(const struct run *run, uint64_t number, GPtrArray *damage)
{
    uint64_t at;
    size_t len = place_chunk(run, number, &at);

    end_begun(run, damage);
    g_ptr_array_add(damage, g_strdup_printf("bytes %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                                            " are damaged, and what is in them is lost",
                                            at, at + len));
}

/* The last chunk of the file, which may be one behind which others were cut off. */
static struct secret_buf *
open_last(const struct run *run, bool *ret_is_cut)
{
    struct secret_buf *plain = open_chunk(run, run->chunks - 1, true, NULL);
    uint64_t at;

    *ret_is_cut = !plain && place_chunk(run, run->chunks - 1, &at) == BACKUP_SEALED_SIZE;
    return *ret_is_cut ? open_chunk(run, run->chunks - 1, false, NULL) : plain;
}

static bool
salvage_chunk(const struct run *run, uint64_t number, GPtrArray *damage, GError **error)
{
    bool is_cut = false;
    g_autoptr(secret_buf_t) plain =
        number + 1 == run->chunks ? open_last(run, &is_cut) : open_chunk(run, number, false, NULL);

    if (!plain && number == 0) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "the beginning of the backup %s is damaged, or its head is, or it was tampered "
                  "with: the keys of all that is in it are there, so use another one",
                  run->reader->path);
        return false;
    }
    if (!plain) {
        note_gap(run, number, damage);
        return true;
    }
    if (!feed(run, plain, error))
        return false;
    if (is_cut)
        end_begun(run, damage);
    return true;
}

static void
note_tally(const struct run *run, GPtrArray *damage)
{
    struct backup_tally tally;

    backup_records_get_tally(run->records, &tally);
    if (!tally.has_end)
        g_ptr_array_add(damage, g_strdup("its end is missing: how many secrets were there is not "
                                         "known"));
    else if (tally.secrets != tally.told_secrets)
        g_ptr_array_add(damage, g_strdup_printf("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                                                " secrets were found",
                                                tally.secrets, tally.told_secrets));
}

bool
backup_reader_salvage(struct backup_reader *reader, const struct backup_records_funcs *funcs,
                      void *opaque, const struct backup_progress *progress, GPtrArray *damage,
                      GError **error)
{
    g_auto(run_t) run = run_begin(reader, funcs, opaque);

    for (uint64_t number = 0; number < run.chunks; number++) {
        if (!salvage_chunk(&run, number, damage, error))
            return false;
        tell_progress(&run, progress, number + 1);
    }
    note_tally(&run, damage);
    return true;
}
