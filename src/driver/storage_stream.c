/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: upload and download. Of an image it is the container, as libvirt has it. A mapped volume is
 * opened for the length of the stream, whose bytes are in clear: virtcryptd keeps it open until the
 * connection that asked for it ends.
 */
#include <fcntl.h>

#include "driver/libvirt_module.h"
#include "driver/storage_client.h"
#include "driver/storage_module.h"
#include "driver/storage_object.h"
#include "driver/storage_slots.h"
#include "rpc/protocol/virtcrypt_volume_client.h"

enum { OPEN_TIMEOUT_MS = 120000 };

struct transfer {
    virStreamPtr stream;
    unsigned long long offset;
    unsigned long long length;
    bool is_sparse;
    bool is_download;
};

static const struct libvirt_storage_driver *
original(void)
{
    return &storage_module_get()->original;
}

/* The connection that keeps the volume open, and where it is; NULL with the thread's libvirt error
 * set. */
static struct rpc_client *
open_volume(const struct storage_object *object, bool is_readonly, char **ret_path)
{
    g_autoptr(GError) error = NULL;
    struct storage_clients *clients = storage_module_get()->clients;
    struct rpc_client *client = storage_client_acquire(clients, &error);
    const struct virtcrypt_volume_open_args args = {
        .volume = {.pool = object->pool, .name = object->name},
        .is_stream = true,
        .is_readonly = is_readonly,
    };
    struct virtcrypt_volume_open_ret answer = {0};

    if (client) {
        rpc_client_set_timeout(client, OPEN_TIMEOUT_MS);
        if (virtcrypt_volume_open_call(client, &args, &answer, &error)) {
            *ret_path = answer.path;
            return client;
        }
        storage_client_close(clients, client);
    }
    storage_module_set_error(error);
    return NULL;
}

static void
stream_closed(virStreamPtr stream, void *client)
{
}

/* libvirt calls it once, after stream_closed or if the stream ends otherwise. */
static void
close_volume(void *client)
{
    storage_client_close(storage_module_get()->clients, client);
}

static int
transfer_mapped(const struct storage_object *object, const struct transfer *transfer)
{
    const struct libvirt_symbols *libvirt = &storage_module_get()->libvirt;
    g_autofree char *path = NULL;
    struct rpc_client *client = open_volume(object, transfer->is_download, &path);

    if (!client)
        return -1;
    if (libvirt->stream_open_block(transfer->stream, path, transfer->offset, transfer->length,
                                   transfer->is_sparse,
                                   transfer->is_download ? O_RDONLY : O_WRONLY) < 0) {
        virErrorPtr error = virSaveLastError();

        close_volume(client);
        libvirt_module_restore_error(libvirt, error);
        return -1;
    }
    libvirt->stream_on_close(transfer->stream, stream_closed, client, close_volume);
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
               : original()->volume_download(volume, stream, offset, length, flags);
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
    if (!storage_object_is_usable(&object))
        return -1;
    return object.kind == STORAGE_KIND_MAPPED
               ? transfer_mapped(&object, &transfer)
               : original()->volume_upload(volume, stream, offset, length, flags);
}

void
storage_stream_install(struct libvirt_storage_driver *table)
{
    table->volume_download = volume_download;
    table->volume_upload = volume_upload;
}
