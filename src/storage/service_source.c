/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: service_source.h.
 */
#include "storage/service_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/big_endian.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

/* QEMU's docs/interop/qcow2.txt: the header's first fields. */
enum {
    QCOW2_MAGIC = 0x514649fb,
    QCOW2_SIZE_AT = 24,
    QCOW2_CRYPT_METHOD_AT = 32,
    QCOW2_HEAD_LEN = 36,
    QCOW2_VERSION_AT = 4,
    QCOW2_BACKING_AT = 8,
    QCOW2_BACKING_LEN_AT = 16,
    QCOW2_BACKING_MAX = 1023,
    QCOW2_VERSION_MIN = 2,
    QCOW2_INCOMPATIBLE_AT = 72, /* from version 3 on */
    QCOW2_DATA_FILE = 1 << 2,
};

void
service_sniff_clear(struct service_sniff *sniff)
{
    luks_token_clear(&sniff->token);
    g_clear_pointer(&sniff->backing, g_free);
}

static bool
sniff_raw(int fd, struct service_sniff *sniff, GError **error)
{
    /* By the descriptor: a guest's disk may be named by a link. */
    g_autofree char *own = g_strdup_printf("/proc/self/fd/%d", fd);
    const struct luks_place place = {.device = own};
    g_auto(luks_info_t) info = {0};
    off_t size;

    sniff->format = "raw";
    if (!luks_has_magic(fd)) {
        size = lseek(fd, 0, SEEK_END);
        sniff->capacity = size > 0 ? (uint64_t)size : 0;
        return true;
    }
    sniff->is_encrypted = true;
    if (!luks_probe(&place, &info, error))
        return false;
    sniff->luks = info.type;
    sniff->has_token = info.has_token;
    sniff->token = info.token;
    memset(&info.token, 0, sizeof(info.token));
    return true;
}

static void
sniff_qcow2(int fd, const uint8_t *head, struct service_sniff *sniff)
{
    uint64_t at = big_endian_get(head + QCOW2_BACKING_AT, 8);
    uint64_t len = big_endian_get(head + QCOW2_BACKING_LEN_AT, 4);
    g_autofree char *backing = NULL;
    uint8_t features[sizeof(uint64_t)];

    sniff->format = "qcow2";
    sniff->is_split =
        big_endian_get(head + QCOW2_VERSION_AT, 4) > QCOW2_VERSION_MIN &&
        pread(fd, features, sizeof(features), QCOW2_INCOMPATIBLE_AT) == sizeof(features) &&
        big_endian_get(features, sizeof(features)) & QCOW2_DATA_FILE;
    sniff->is_encrypted = big_endian_get(head + QCOW2_CRYPT_METHOD_AT, 4) != 0;
    sniff->capacity = big_endian_get(head + QCOW2_SIZE_AT, 8);
    if (at == 0 || at > INT64_MAX || len == 0 || len > QCOW2_BACKING_MAX)
        return;
    backing = g_malloc0(len + 1);
    if (pread(fd, backing, len, (off_t)at) == (ssize_t)len)
        sniff->backing = g_steal_pointer(&backing);
}

bool
service_sniff(const char *path, struct service_sniff *ret_sniff, GError **error)
{
    g_auto(file_fd) fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    g_auto(service_sniff_t) sniff = {0};
    uint8_t head[QCOW2_HEAD_LEN] = {0};
    struct stat info;

    if (fd < 0 || fstat(fd, &info) != 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "can't read '%s'", path);
        return false;
    }
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "'%s' is neither a file nor a block device", path);
        return false;
    }
    if (pread(fd, head, sizeof(head), 0) == sizeof(head) &&
        big_endian_get(head, 4) == QCOW2_MAGIC &&
        big_endian_get(head + QCOW2_VERSION_AT, 4) >= QCOW2_VERSION_MIN) {
        sniff_qcow2(fd, head, &sniff);
    } else if (!sniff_raw(fd, &sniff, error)) {
        g_prefix_error(error, "'%s': ", path);
        return false;
    }
    sniff.is_block = S_ISBLK(info.st_mode);
    *ret_sniff = sniff;
    memset(&sniff, 0, sizeof(sniff));
    return true;
}

/* Several clones may read one volume at a time. */
static void
close_dm_crypt(struct service_source *source)
{
    struct storage_service *service = source->service;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&service->sources_mutex);
    g_autoptr(GError) error = NULL;

    if (service_close_for(service, source->record, &source->user, &error))
        return;
    log_warn("volume '%s' stays open for now: %s", source->record->name, error->message);
    service_worker_close_later(service->worker, source->record->pool, source->record->name);
}

void
service_source_free(struct service_source *source)
{
    if (!source)
        return;
    if (source->is_open)
        close_dm_crypt(source);
    secret_buf_free(source->key);
    volume_record_free(source->record);
    service_lock_free(source->lock);
    g_free(source->path);
    g_free(source->format);
    g_free(source);
}

/* A volume of ours, locked so that it is not changed while it is read. */
static bool
find_record(struct service_source *source, const char *pool, const char *volume, GError **error)
{
    const struct service_lock_wish wish = {
        .mode = SERVICE_LOCK_SHARED,
        .doing = "being copied",
    };
    g_autoptr(GError) failure = NULL;

    source->record =
        service_take_volume(source->service, pool, volume, &wish, &source->lock, &failure);
    if (source->record || error_is(failure, ERROR_NO_STORAGE_VOL))
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
read_record(struct service_source *source, GError **error)
{
    const struct volume_record *record = source->record;
    struct backend_info info;

    source->path = g_strdup(record->path);
    source->format = g_strdup(record->kind == VOLUME_KIND_QCOW2 ? "qcow2" : "raw");
    source->is_encrypted = true;
    source->secret = record->encryption->secret_uuid;
    if (!backend_find(record->kind)->get_info(record, &info, error))
        return false;
    source->capacity = info.capacity;
    return true;
}

/* Bytes that say "qcow2" may be a guest's: it can write on its raw disk what it likes, and QEMU
 * would follow it to any file of the host. A device is raw unless the client says otherwise, as in
 * libvirt; and no file is followed to another. */
static bool
choose_format(struct service_source *source, const struct storage_create_request *request,
              const struct service_sniff *sniff, GError **error)
{
    bool is_qcow2 = strcmp(sniff->format, "qcow2") == 0;

    source->is_encrypted = sniff->is_encrypted;
    source->capacity = sniff->capacity;
    if (request->source_format) {
        source->format = g_strdup(request->source_format);
        if (strcmp(source->format, sniff->format) != 0)
            source->capacity = 0;
        return true;
    }
    if (is_qcow2 && sniff->is_block) {
        source->format = g_strdup("raw");
        source->is_encrypted = false;
        source->capacity = 0;
        return true;
    }
    source->format = g_strdup(sniff->format);
    if (!is_qcow2 || (!sniff->backing && !sniff->is_split))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
              "'%s' looks like a qcow2 image that names another file, and a guest may have made it "
              "so: refresh its pool, so that libvirt says which format it has",
              source->path);
    return false;
}

/* A volume or an image that is not ours: what it is, its bytes say. */
static bool
read_foreign(struct service_source *source, const struct storage_create_request *request,
             GError **error)
{
    g_auto(service_sniff_t) sniff = {0};
    g_autoptr(pool_def_t) pool = NULL;

    if (request->source_path) {
        source->path = g_strdup(request->source_path);
    } else {
        pool = storage_pools_get(source->service->pools, request->source_pool, error);
        if (!pool)
            return false;
        if (!pool->target_path) {
            error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                      "the volumes of storage pool '%s' have no path to be copied from",
                      request->source_pool);
            return false;
        }
        source->path = g_build_filename(pool->target_path, request->source_volume, NULL);
    }
    if (!service_sniff(source->path, &sniff, error)) {
        g_prefix_error(error, "can't copy from it: ");
        return false;
    }
    if (!choose_format(source, request, &sniff, error))
        return false;
    if (sniff.luks != LUKS_2)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_UNSUPPORTED,
              "'%s' is LUKS2 and no volume of virtcrypt: register it with virtcrypt vol-adopt",
              source->path);
    return false;
}

struct service_source *
service_source_new(struct storage_service *service, const struct storage_create_request *request,
                   GError **error)
{
    g_autoptr(service_source_t) source = NULL;
    g_autoptr(volume_record_t) found = NULL;

    if (!request->source_volume && !request->source_path)
        return NULL;
    source = g_new0(struct service_source, 1);
    source->service = service;
    if (request->source_volume && request->source_pool) {
        if (!find_record(source, request->source_pool, request->source_volume, error))
            return NULL;
    } else if (request->source_path) {
        found = storage_records_get_by_path(service->records, request->source_path, NULL);
        if (found && !find_record(source, found->pool, found->name, error))
            return NULL;
    }
    if (source->record ? !read_record(source, error) : !read_foreign(source, request, error))
        return NULL;
    return g_steal_pointer(&source);
}

static bool
open_dm_crypt(struct service_source *source, GError **error)
{
    G_GNUC_UNUSED g_autoptr(GMutexLocker) locker =
        g_mutex_locker_new(&source->service->sources_mutex);
    char *device;

    source->user.kind = STORAGE_USER_STREAM;
    source->user.is_readonly = true;
    if (!uuid_generate_random(&source->user.guest, error) ||
        !service_open_for(source->service, source->record, &source->user, error))
        return false;
    source->is_open = true;
    /* What reads it follows no links. */
    device = realpath(source->record->path, NULL);
    if (!device) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "can't find the device of '%s'",
                        source->record->path);
        return false;
    }
    g_free(source->path);
    source->path = g_strdup(device);
    free(device);
    return true;
}

/* libvirt's own volumes: the secret that has their path as its usage, if it is the one. */
static bool
find_foreign_key(struct service_source *source, GError **error)
{
    const struct storage_keys *keys = &source->service->keys;
    const struct luks_place place = {.device = source->path};
    g_autoptr(GError) failure = NULL;

    if (keys->find_by_usage(keys->opaque, source->path, &source->secret, &failure))
        source->key = keys->get(keys->opaque, &source->secret, &failure);
    if (source->key &&
        (strcmp(source->format, "raw") != 0 || luks_check_key(&place, source->key, &failure)))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_NO_SECRET,
              "'%s' is encrypted, and virtcrypt does not know its key (%s): register it with "
              "virtcrypt vol-adopt",
              source->path, failure->message);
    return false;
}

bool
service_source_open(struct service_source *source, GError **error)
{
    const struct volume_record *record = source->record;

    if (!source->is_encrypted)
        return true;
    if (!record)
        return find_foreign_key(source, error);
    if (record->kind == VOLUME_KIND_DM_CRYPT)
        return open_dm_crypt(source, error);
    source->key = service_secret_get(source->service, record, error);
    if (!source->key || !backend_find(record->kind)->check_key(record, source->key, error))
        return false;
    source->key_is_generated = record->secret_is_generated;
    return true;
}

struct backend_source
service_source_view(const struct service_source *source)
{
    const struct backend_source view = {
        .path = source->path,
        .format = source->format,
        .is_luks = source->is_encrypted && !source->is_open,
        .key = source->key,
    };

    return view;
}
