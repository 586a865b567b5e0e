/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: upload and download. Of an image it is the container, as libvirt has it. A mapped volume is
 * opened for the length of the stream, whose bytes are in clear: virtcryptd keeps it open until it
 * is told to close it, or the connection that asked for it ends.
 */
#include "driver/storage_stream.h"

#include <fcntl.h>

#include "driver/libvirt_module.h"
#include "driver/storage_client.h"
#include "driver/storage_module.h"
#include "driver/storage_object.h"
#include "driver/storage_slots.h"
#include "rpc/protocol/virtcrypt_volume_client.h"

enum { OPEN_TIMEOUT_MS = 120000, WAIT_BOUND_S = 60 };

struct storage_streams {
    GMutex lock;
    GCond closed_cond;
    unsigned int closing; /* volumes whose stream has ended and that are not closed yet */
};

/* A volume that is open for a stream. */
struct opened {
    char *pool;
    char *name;
    char *path;
    struct rpc_client *client; /* its connection keeps the volume open */
    bool is_readonly;
};

struct transfer {
    virStreamPtr stream;
    unsigned long long offset;
    unsigned long long length;
    bool is_sparse;
    bool is_download;
};

struct storage_streams *
storage_streams_new(void)
{
    struct storage_streams *streams = g_new0(struct storage_streams, 1);

    g_mutex_init(&streams->lock);
    g_cond_init(&streams->closed_cond);
    return streams;
}

void
storage_streams_wait(struct storage_streams *streams)
{
    gint64 deadline = g_get_monotonic_time() + WAIT_BOUND_S * G_TIME_SPAN_SECOND;

    g_mutex_lock(&streams->lock);
    while (streams->closing > 0 &&
           g_cond_wait_until(&streams->closed_cond, &streams->lock, deadline))
        continue;
    g_mutex_unlock(&streams->lock);
}

static struct virtcrypt_volume_open_args
open_args(const struct opened *opened)
{
    return (struct virtcrypt_volume_open_args){
        .volume = {.pool = opened->pool, .name = opened->name},
        .is_stream = true,
        .is_readonly = opened->is_readonly,
    };
}

static void
opened_free(struct opened *opened)
{
    if (opened->client)
        storage_client_close(storage_module_get()->clients, opened->client);
    g_free(opened->pool);
    g_free(opened->name);
    g_free(opened->path);
    g_free(opened);
}

/* NULL with the thread's libvirt error set. */
static struct opened *
open_volume(const struct storage_object *object, bool is_readonly)
{
    g_autoptr(GError) error = NULL;
    struct opened *opened = g_new0(struct opened, 1);
    struct virtcrypt_volume_open_ret answer = {0};
    struct virtcrypt_volume_open_args args;

    opened->pool = g_strdup(object->pool);
    opened->name = g_strdup(object->name);
    opened->is_readonly = is_readonly;
    opened->client = storage_client_acquire(storage_module_get()->clients, &error);
    args = open_args(opened);
    if (opened->client)
        rpc_client_set_timeout(opened->client, OPEN_TIMEOUT_MS);
    if (opened->client && virtcrypt_volume_open_call(opened->client, &args, &answer, &error)) {
        opened->path = answer.path;
        return opened;
    }
    opened_free(opened);
    storage_module_set_error(error);
    return NULL;
}

/* What the connection's end would do, too; but then nobody would know when it is done. */
static gpointer
close_main(gpointer opaque)
{
    struct storage_streams *streams = storage_module_get()->streams;
    struct opened *opened = opaque;
    const struct virtcrypt_volume_open_args args = open_args(opened);
    g_autoptr(GError) error = NULL;

    if (!virtcrypt_volume_close_call(opened->client, &args, &error))
        storage_module_warn("volume '%s' of storage pool '%s' can't be closed after its transfer: "
                            "%s",
                            opened->name, opened->pool, error->message);
    opened_free(opened);
    g_mutex_lock(&streams->lock);
    streams->closing--;
    g_cond_broadcast(&streams->closed_cond);
    g_mutex_unlock(&streams->lock);
    return NULL;
}

/* For virFDStreamSetInternalCloseCb, which wants both this and close_volume. */
static void
stream_closed(virStreamPtr stream, void *opaque)
{
}

/* libvirt calls it once, in its event loop, which must not wait. */
static void
close_volume(void *opaque)
{
    struct storage_streams *streams = storage_module_get()->streams;
    GThread *thread = NULL;

    g_mutex_lock(&streams->lock);
    streams->closing++;
    g_mutex_unlock(&streams->lock);
    thread = g_thread_try_new("volume-close", close_main, opaque, NULL);
    if (thread)
        g_thread_unref(thread);
    else
        close_main(opaque);
}

static int
transfer_mapped(const struct storage_object *object, const struct transfer *transfer)
{
    const struct libvirt_symbols *libvirt = &storage_module_get()->libvirt;
    struct opened *opened = open_volume(object, transfer->is_download);

    if (!opened)
        return -1;
    if (libvirt->stream_open_block(transfer->stream, opened->path, transfer->offset,
                                   transfer->length, transfer->is_sparse,
                                   transfer->is_download ? O_RDONLY : O_WRONLY) < 0) {
        virErrorPtr error = virSaveLastError();

        close_volume(opened);
        libvirt_module_restore_error(libvirt, error);
        return -1;
    }
    libvirt->stream_on_close(transfer->stream, stream_closed, opened, close_volume);
    return 0;
}

static int
volume_download(virStorageVolPtr volume, virStreamPtr stream, unsigned long long offset,
                unsigned long long length, unsigned int flags)
{
    g_auto(storage_object_t) object = {0};
    const struct transfer transfer = {
        .stream = stream,
        .offset = offset,
        .length = length,
        .is_sparse = flags & VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM,
        .is_download = true,
    };

    storage_object_init_volume(&object, volume);
    if (!storage_object_is_usable(&object))
        return -1;
    return object.kind == STORAGE_KIND_MAPPED
               ? transfer_mapped(&object, &transfer)
               : storage_module_original()->volume_download(volume, stream, offset, length, flags);
}

/* Who makes a volume where all is to be encrypted, without a word of encryption, and then uploads
 * to it, does not know that it is a container. False with the thread's libvirt error set. */
static bool
may_replace_container(const struct storage_object *object)
{
    if (object->kind != STORAGE_KIND_IMAGE || !storage_object_has_policy(object->pool))
        return true;
    storage_module_error(VIR_ERR_OPERATION_UNSUPPORTED,
                         "storage pool '%s' encrypts its volumes, and an upload would replace the "
                         "encrypted container of volume '%s' by what is uploaded: write to the "
                         "volume by qemu-img, or use a pool with the policy dm-crypt",
                         object->pool, object->name);
    return false;
}

static int
volume_upload(virStorageVolPtr volume, virStreamPtr stream, unsigned long long offset,
              unsigned long long length, unsigned int flags)
{
    g_auto(storage_object_t) object = {0};
    const struct transfer transfer = {
        .stream = stream,
        .offset = offset,
        .length = length,
        .is_sparse = flags & VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM,
    };

    storage_object_init_volume(&object, volume);
    if (!storage_object_is_usable(&object) || !may_replace_container(&object))
        return -1;
    return object.kind == STORAGE_KIND_MAPPED
               ? transfer_mapped(&object, &transfer)
               : storage_module_original()->volume_upload(volume, stream, offset, length, flags);
}

void
storage_stream_install(struct libvirt_storage_driver *table)
{
    table->volume_download = volume_download;
    table->volume_upload = volume_upload;
}
