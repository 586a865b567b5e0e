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

static bool
run_chunk(const struct run *run, uint64_t number, GError **error)
{
    const struct backup_reader *reader = run->reader;
    const struct backup_chunk chunk = {number, number + 1 == run->chunks};
    uint64_t at = g_bytes_get_size(reader->head_bytes) + number * BACKUP_SEALED_SIZE;
    size_t len = (size_t)MIN(reader->size - at, BACKUP_SEALED_SIZE);
    g_autoptr(secret_buf_t) plain = NULL;

    if (len < AEAD_TAG_SIZE)
        return set_read_error(reader, 0, error);
    plain = secret_buf_new(len - AEAD_TAG_SIZE, error);
    return plain && read_at(reader, at, run->sealed, len, error) &&
           backup_chunks_decrypt(reader->chunks, chunk, run->sealed, plain, error) &&
           backup_records_feed(run->records, secret_buf_bytes(plain), secret_buf_len(plain), error);
}

bool
backup_reader_run(struct backup_reader *reader, const struct backup_records_funcs *funcs,
                  void *opaque, const struct backup_progress *progress, GError **error)
{
    uint64_t content = reader->size - g_bytes_get_size(reader->head_bytes);
    g_autoptr(backup_records_t) records = backup_records_new(funcs, opaque);
    g_autofree uint8_t *sealed = g_malloc(BACKUP_SEALED_SIZE);
    const struct run run = {
        .reader = reader,
        .records = records,
        .chunks = (content + BACKUP_SEALED_SIZE - 1) / BACKUP_SEALED_SIZE,
        .sealed = sealed,
    };

    for (uint64_t number = 0; number < run.chunks; number++) {
        if (!run_chunk(&run, number, error))
            return false;
        if (progress && progress->func)
            progress->func(progress->opaque, number + 1, run.chunks);
    }
    return backup_records_finish(records, error);
}
