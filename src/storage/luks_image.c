/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: luks_image.h.
 */
#include "storage/luks_image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/error.h"

enum {
    HEAD = 4096,                     /* the part with the table of keyslots; material is behind */
    LENGTH_MAX = 64 * 1024 * 1024,   /* of any LUKS1 header */
    WORKING_SIZE = 16 * 1024 * 1024, /* sparse: room for a header that is to be made */
};

void
luks_image_clear(struct luks_image *image)
{
    file_fd_clear(&image->fd);
}

struct luks_place
luks_image_place(const struct luks_image *image)
{
    return (struct luks_place){.device = image->path};
}

static bool
open_memory(struct luks_image *image, uint64_t size, GError **error)
{
    image->fd = memfd_create("luks-header", MFD_CLOEXEC);
    if (image->fd < 0 || ftruncate(image->fd, (off_t)size) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot get memory for a LUKS header");
        return false;
    }
    snprintf(image->path, sizeof(image->path), "/proc/self/fd/%d", image->fd);
    return true;
}

static void
move_image(struct luks_image *image, struct luks_image *ret_image)
{
    *ret_image = *image;
    image->fd = -1;
}

bool
luks_image_make(const struct encryption *encryption, const struct secret_buf *key,
                bool key_is_generated, struct luks_image *ret_image, GError **error)
{
    const struct luks_format_params params = {
        .type = LUKS_1,
        .encryption = encryption,
        .kdf = key_is_generated ? LUKS_KDF_FULL_ENTROPY : LUKS_KDF_STRONG,
        .for_image = true,
    };
    g_auto(luks_image_t) image = {.fd = -1};
    g_auto(luks_info_t) info = {0};
    struct luks_place place;

    if (!open_memory(&image, WORKING_SIZE, error))
        return false;
    place = luks_image_place(&image);
    if (!luks_format(&place, &params, key, error) || !luks_probe(&place, &info, error))
        return false;
    image.length = info.payload_offset;
    if (info.type != LUKS_1 || image.length < HEAD || image.length > LENGTH_MAX ||
        ftruncate(image.fd, (off_t)image.length) < 0) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INTERNAL, "a new LUKS header is malformed");
        return false;
    }
    move_image(&image, ret_image);
    return true;
}

static bool
read_all_at(int fd, uint8_t *bytes, size_t len, uint64_t offset)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = pread(fd, bytes + done, len - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* `length` bytes at `offset` of `fd`, or NULL. */
static uint8_t *
read_bytes(int fd, const char *name, uint64_t offset, uint64_t length, GError **error)
{
    g_autofree uint8_t *bytes = g_malloc(length);

    if (read_all_at(fd, bytes, length, offset))
        return g_steal_pointer(&bytes);
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot read the LUKS header of %s", name);
    return NULL;
}

bool
luks_image_load(int fd, const char *name, uint64_t offset, uint64_t length,
                struct luks_image *ret_image, GError **error)
{
    g_auto(luks_image_t) image = {.fd = -1, .length = length};
    g_autofree uint8_t *bytes = NULL;

    if (length < HEAD || length > LENGTH_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "the LUKS header of %s has an impossible length", name);
        return false;
    }
    bytes = read_bytes(fd, name, offset, length, error);
    if (!bytes || !open_memory(&image, length, error))
        return false;
    if (!file_write_all_at(image.fd, bytes, length, 0)) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot get memory for a LUKS header");
        return false;
    }
    move_image(&image, ret_image);
    return true;
}

GBytes *
luks_image_get_bytes(const struct luks_image *image, GError **error)
{
    uint8_t *bytes = read_bytes(image->fd, "a new image", 0, image->length, error);

    return bytes ? g_bytes_new_take(bytes, image->length) : NULL;
}

static bool
fail_to_write(const char *name, GError **error)
{
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot write the LUKS header of %s", name);
    return false;
}

bool
luks_image_verify(const struct luks_image *image, int fd, const char *name, uint64_t offset,
                  GError **error)
{
    g_autofree uint8_t *bytes = read_bytes(image->fd, name, 0, image->length, error);
    g_autofree uint8_t *there = bytes ? read_bytes(fd, name, offset, image->length, error) : NULL;

    if (!there)
        return false;
    if (memcmp(bytes, there, image->length) == 0)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
              "%s does not keep what is written to it", name);
    return false;
}

bool
luks_image_write(const struct luks_image *image, int fd, const char *name, uint64_t offset,
                 GError **error)
{
    g_autofree uint8_t *bytes = read_bytes(image->fd, name, 0, image->length, error);

    if (!bytes)
        return false;
    if (!file_write_all_at(fd, bytes, image->length, (off_t)offset) || fsync(fd) < 0)
        return fail_to_write(name, error);
    return luks_image_verify(image, fd, name, offset, error);
}

/* Writes the parts of `bytes` that differ from `old`, in steps of HEAD. */
static bool
write_differing(int fd, uint64_t offset, const uint8_t *bytes, const uint8_t *old, size_t from,
                size_t to)
{
    for (size_t at = from; at < to; at += HEAD) {
        size_t part = MIN(to - at, (size_t)HEAD);

        if (memcmp(bytes + at, old + at, part) != 0 &&
            !file_write_all_at(fd, bytes + at, part, (off_t)(offset + at)))
            return false;
    }
    return fsync(fd) == 0;
}

bool
luks_image_write_changes(const struct luks_image *image, int fd, const char *name, uint64_t offset,
                         GError **error)
{
    g_autofree uint8_t *bytes = read_bytes(image->fd, name, 0, image->length, error);
    g_autofree uint8_t *old = bytes ? read_bytes(fd, name, offset, image->length, error) : NULL;

    if (!old)
        return false;
    return (write_differing(fd, offset, bytes, old, HEAD, image->length) &&
            write_differing(fd, offset, bytes, old, 0, HEAD)) ||
           fail_to_write(name, error);
}

bool
luks_image_erase(int fd, const char *name, uint64_t offset, uint64_t length, GError **error)
{
    /* The image itself says where it is, and may lie: nothing grows by being erased. */
    off_t end = lseek(fd, 0, SEEK_END);
    uint64_t present = end < 0 || (uint64_t)end < offset ? 0 : (uint64_t)end - offset;

    if (end >= 0 && file_write_zeros_at(fd, MIN(length, present), (off_t)offset) && fsync(fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot erase the keyslots of %s", name);
    return false;
}
