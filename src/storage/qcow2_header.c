/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: qcow2_header.h. The first cluster is: the header, extensions (type, length, bytes padded
 * to 8) up to one of type 0, the name of the backing file. All numbers are big endian.
 */
#include "storage/qcow2_header.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "storage/qcow2_refcounts.h"
#include "util/big_endian.h"
#include "util/error.h"
#include "util/file.h"

#define MAGIC                    0x514649fbu
#define EXTENSION_END            0u
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_FEATURE_NAMES  0x6803f857u
#define EXTENSION_CRYPTO         0x0537be77u

/* Offsets of the header's fields. */
enum {
    AT_VERSION = 4,
    AT_BACKING_OFFSET = 8,
    AT_BACKING_SIZE = 16,
    AT_CLUSTER_BITS = 20,
    AT_SIZE = 24,
    AT_CRYPT_METHOD = 32,
    AT_REFCOUNT_TABLE = 48,
    AT_REFCOUNT_CLUSTERS = 56,
    AT_SNAPSHOTS = 60,
    AT_INCOMPATIBLE = 72,
    AT_COMPATIBLE = 80,
    AT_REFCOUNT_ORDER = 96,
    AT_HEADER_LENGTH = 100,
};

enum {
    V2_LENGTH = 72,
    V3_LENGTH_MIN = 104,
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 21,
    REFCOUNT_ORDER_DEFAULT = 4, /* 16 bits */
    REFCOUNT_ORDER_MAX = 6,
    BACKING_NAME_MAX = 1023,
    BACKING_FORMAT_MAX = 31,
    LUKS_LENGTH_MAX = 64 * 1024 * 1024,
    FIRST_MAX = 1 << 16, /* no header is larger: extensions end before */
    EXTENSION_HEAD = 8,
    CRYPTO_LENGTH = 16,
    COMPATIBLE_LAZY = 1,
    INCOMPATIBLE_EXTENDED_L2 = 1 << 4,
};

/* The first cluster, or as much of it as there can be of a header. */
struct first {
    uint8_t bytes[FIRST_MAX];
    size_t len;        /* at most a cluster */
    size_t extensions; /* where they begin */
};

static bool
fail(const char *path, const char *why, GError **error)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID, "%s is not a qcow2 image: %s",
              path, why);
    return false;
}

static bool
read_first(int fd, const char *path, struct first *first, GError **error)
{
    ssize_t got;

    do
        got = pread(fd, first->bytes, sizeof(first->bytes), 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot read %s", path);
        return false;
    }
    first->len = (size_t)got;
    if (first->len < V3_LENGTH_MIN + EXTENSION_HEAD ||
        big_endian_get(first->bytes, sizeof(uint32_t)) != MAGIC)
        return fail(path, "its magic is missing", error);
    return true;
}

/* The fields of fixed places, checked. */
static bool
parse_fields(const char *path, struct first *first, struct qcow2_header *header, GError **error)
{
    const uint8_t *bytes = first->bytes;

    header->version = big_endian_get(bytes + AT_VERSION, sizeof(uint32_t));
    header->cluster_bits = big_endian_get(bytes + AT_CLUSTER_BITS, sizeof(uint32_t));
    header->size = big_endian_get(bytes + AT_SIZE, sizeof(uint64_t));
    header->crypt_method = big_endian_get(bytes + AT_CRYPT_METHOD, sizeof(uint32_t));
    header->refcount_table_offset = big_endian_get(bytes + AT_REFCOUNT_TABLE, sizeof(uint64_t));
    header->refcount_table_clusters =
        big_endian_get(bytes + AT_REFCOUNT_CLUSTERS, sizeof(uint32_t));
    header->snapshots = big_endian_get(bytes + AT_SNAPSHOTS, sizeof(uint32_t));
    header->refcount_order = REFCOUNT_ORDER_DEFAULT;
    first->extensions = V2_LENGTH;
    if (header->version != 2 && header->version != 3)
        return fail(path, "its version is neither 2 nor 3", error);
    if (header->version == 3) {
        header->extended_l2 =
            big_endian_get(bytes + AT_INCOMPATIBLE, sizeof(uint64_t)) & INCOMPATIBLE_EXTENDED_L2;
        header->lazy_refcounts =
            big_endian_get(bytes + AT_COMPATIBLE, sizeof(uint64_t)) & COMPATIBLE_LAZY;
        header->refcount_order = big_endian_get(bytes + AT_REFCOUNT_ORDER, sizeof(uint32_t));
        first->extensions = big_endian_get(bytes + AT_HEADER_LENGTH, sizeof(uint32_t));
        if (first->extensions < V3_LENGTH_MIN || first->extensions % 8 != 0)
            return fail(path, "its header has an impossible length", error);
    }
    if (header->cluster_bits < CLUSTER_BITS_MIN || header->cluster_bits > CLUSTER_BITS_MAX ||
        header->refcount_order > REFCOUNT_ORDER_MAX)
        return fail(path, "its sizes are impossible", error);
    first->len = MIN(first->len, (size_t)1 << header->cluster_bits);
    if (first->extensions > first->len - EXTENSION_HEAD)
        return fail(path, "its header has an impossible length", error);
    return true;
}

/* The extension at *offset, and *offset behind it; false at the end. */
static bool
next_extension(const struct first *first, size_t *offset, uint32_t *ret_type,
               const uint8_t **ret_bytes, size_t *ret_len)
{
    size_t left = first->len - *offset;
    uint32_t type, len;

    if (left < EXTENSION_HEAD)
        return false;
    type = big_endian_get(first->bytes + *offset, sizeof(uint32_t));
    len = big_endian_get(first->bytes + *offset + 4, sizeof(uint32_t));
    if (type == EXTENSION_END || len > left - EXTENSION_HEAD)
        return false;
    *ret_type = type;
    *ret_len = len;
    *ret_bytes = first->bytes + *offset + EXTENSION_HEAD;
    *offset = MIN(*offset + EXTENSION_HEAD + ((size_t)len + 7) / 8 * 8, first->len);
    return true;
}

static bool
parse_extensions(const char *path, const struct first *first, struct qcow2_header *header,
                 GError **error)
{
    size_t offset = first->extensions, len;
    const uint8_t *bytes;
    uint32_t type;

    while (next_extension(first, &offset, &type, &bytes, &len)) {
        if (type == EXTENSION_BACKING_FORMAT && len <= BACKING_FORMAT_MAX) {
            g_free(header->backing_format);
            header->backing_format = g_strndup((const char *)bytes, len);
        } else if (type == EXTENSION_CRYPTO && len == CRYPTO_LENGTH) {
            header->luks_offset = big_endian_get(bytes, sizeof(uint64_t));
            header->luks_length = big_endian_get(bytes + 8, sizeof(uint64_t));
        }
    }
    if (header->crypt_method != QCOW2_CRYPT_LUKS)
        return true;
    if (header->luks_offset == 0 || header->luks_offset > INT64_MAX - LUKS_LENGTH_MAX ||
        header->luks_offset % ((uint64_t)1 << header->cluster_bits) != 0 ||
        header->luks_length == 0 || header->luks_length > LUKS_LENGTH_MAX)
        return fail(path, "it does not say where its LUKS header is", error);
    return true;
}

static bool
parse_backing(const char *path, const struct first *first, struct qcow2_header *header,
              GError **error)
{
    uint64_t offset = big_endian_get(first->bytes + AT_BACKING_OFFSET, sizeof(uint64_t));
    uint32_t len = big_endian_get(first->bytes + AT_BACKING_SIZE, sizeof(uint32_t));

    if (offset == 0)
        return true;
    if (len > BACKING_NAME_MAX || offset > first->len || len > first->len - offset)
        return fail(path, "the name of its backing file lies outside", error);
    header->backing_path = g_strndup((const char *)first->bytes + offset, len);
    return true;
}

static bool
read_header(int fd, const char *path, struct first *first, struct qcow2_header *header,
            GError **error)
{
    return read_first(fd, path, first, error) && parse_fields(path, first, header, error) &&
           parse_extensions(path, first, header, error) &&
           parse_backing(path, first, header, error);
}

bool
qcow2_header_read(int fd, const char *path, struct qcow2_header *ret_header, GError **error)
{
    g_autofree struct first *first = g_new0(struct first, 1);
    g_auto(qcow2_header_t) header = {0};

    if (!read_header(fd, path, first, &header, error))
        return false;
    *ret_header = header;
    memset(&header, 0, sizeof(header));
    return true;
}

void
qcow2_header_clear(struct qcow2_header *header)
{
    g_clear_pointer(&header->backing_path, g_free);
    g_clear_pointer(&header->backing_format, g_free);
}

static void
append_extension(GByteArray *bytes, uint32_t type, const void *content, size_t len)
{
    static const uint8_t padding[8];
    uint8_t head[EXTENSION_HEAD];

    big_endian_put(head, type, sizeof(uint32_t));
    big_endian_put(head + 4, (uint32_t)len, sizeof(uint32_t));
    g_byte_array_append(bytes, head, sizeof(head));
    if (len > 0)
        g_byte_array_append(bytes, content, (guint)len);
    g_byte_array_append(bytes, padding, (guint)((8 - len % 8) % 8));
}

/* The first cluster again with `luks` among its extensions. Names of features are for people's
 * eyes: where clusters are small, they make room. */
static GByteArray *
build_first(const struct first *first, const struct qcow2_header *header, bool keep_names)
{
    GByteArray *built = g_byte_array_new();
    size_t offset = first->extensions, len;
    uint8_t place[CRYPTO_LENGTH];
    const uint8_t *bytes;
    uint32_t type;

    g_byte_array_append(built, first->bytes, (guint)first->extensions);
    big_endian_put(place, header->luks_offset, sizeof(uint64_t));
    big_endian_put(place + 8, header->luks_length, sizeof(uint64_t));
    append_extension(built, EXTENSION_CRYPTO, place, sizeof(place));
    while (next_extension(first, &offset, &type, &bytes, &len)) {
        if (type != EXTENSION_CRYPTO && (keep_names || type != EXTENSION_FEATURE_NAMES))
            append_extension(built, type, bytes, len);
    }
    append_extension(built, EXTENSION_END, NULL, 0);
    big_endian_put(built->data + AT_CRYPT_METHOD, QCOW2_CRYPT_LUKS, sizeof(uint32_t));
    big_endian_put(built->data + AT_REFCOUNT_TABLE, header->refcount_table_offset,
                   sizeof(uint64_t));
    big_endian_put(built->data + AT_REFCOUNT_CLUSTERS, header->refcount_table_clusters,
                   sizeof(uint32_t));
    if (header->backing_path) {
        big_endian_put(built->data + AT_BACKING_OFFSET, built->len, sizeof(uint64_t));
        g_byte_array_append(built, (const guint8 *)header->backing_path,
                            (guint)strlen(header->backing_path));
    }
    return built;
}

static bool
write_first(int fd, const char *path, const struct first *first, const struct qcow2_header *header,
            GError **error)
{
    size_t max = MIN((size_t)1 << header->cluster_bits, (size_t)FIRST_MAX);
    g_autoptr(GByteArray) built = build_first(first, header, true);
    size_t len;

    if (built->len > max) {
        g_byte_array_unref(built);
        built = build_first(first, header, false);
    }
    if (built->len > max) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "clusters of %s are too small for the name of its backing file; use larger ones",
                  path);
        return false;
    }
    /* Zeros to the cluster's end: nothing of the old text stays behind the new one. */
    len = built->len;
    g_byte_array_set_size(built, (guint)max);
    memset(built->data + len, 0, max - len);
    if (file_write_all_at(fd, built->data, built->len, 0))
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot write the header of %s", path);
    return false;
}

bool
qcow2_header_put_luks(int fd, const char *path, const void *luks, size_t len, GError **error)
{
    g_autofree struct first *first = g_new0(struct first, 1);
    g_auto(qcow2_header_t) header = {0};
    struct qcow2_refcounts counts = {.fd = fd, .path = path};
    uint64_t cluster;

    if (!read_header(fd, path, first, &header, error))
        return false;
    if (header.crypt_method != QCOW2_CRYPT_NONE || header.snapshots > 0 ||
        header.refcount_order != REFCOUNT_ORDER_DEFAULT) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "%s is not a new image without encryption", path);
        return false;
    }
    cluster = (uint64_t)1 << header.cluster_bits;
    counts.cluster_bits = header.cluster_bits;
    counts.table_offset = header.refcount_table_offset;
    counts.table_clusters = header.refcount_table_clusters;
    if (!qcow2_refcounts_append(&counts, (len + cluster - 1) / cluster, &header.luks_offset, error))
        return false;
    header.luks_length = len;
    header.refcount_table_offset = counts.table_offset;
    header.refcount_table_clusters = counts.table_clusters;
    if (!file_write_all_at(fd, luks, len, (off_t)header.luks_offset)) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot write the LUKS header of %s",
                        path);
        return false;
    }
    return write_first(fd, path, first, &header, error);
}
