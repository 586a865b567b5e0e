/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the use cases of volumes. Functions may be called from any thread and take as long as the
 * disk does; two operations on one volume exclude one another (the second fails with
 * ERROR_RESOURCE_BUSY naming what the first one does, but a guest's start waits for it within a
 * bound). Order of every change: record, then key, then container, then record: so that a kill at
 * any instant leaves what storage_service_new undoes or finishes.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/volume_def.h"
#include "conf/volume_record.h"
#include "storage/backend.h"
#include "storage/keys.h"
#include "storage/pools.h"
#include "storage/progress.h"
#include "storage/uses.h"

struct storage_service;

struct storage_service_params {
    const char *volumes_dir;     /* SYSCONFDIR/libvirt/virtcrypt/volumes */
    const char *policy_dir;      /* SYSCONFDIR/libvirt/virtcrypt/pools */
    const char *pool_state_dir;  /* RUNSTATEDIR/libvirt/storage */
    const char *pool_config_dir; /* SYSCONFDIR/libvirt/storage, or NULL */
    const char *guest_state_dir; /* RUNSTATEDIR/libvirt/qemu */
    const char *uses_dir;        /* RUNSTATEDIR/libvirt/virtcrypt/uses */
    const char *device_dir;      /* /dev/virtcrypt */
    unsigned int retry_s;        /* between tries to finish what could not be; 0: 30 */
    struct storage_keys keys;
    void *opaque; /* of both that follow; each may be NULL, and is called in any thread */
    /* A volume was made or adopted, got another secret, or went. It must not wait, nor call back.
     */
    void (*on_change)(void *opaque);
    /* Whether a guest has that secret for something else than the volume `path`, too: then it
     * outlives the volume. It must not call back. */
    bool (*is_needed_elsewhere)(void *opaque, const struct uuid *secret, const char *path);
};

/* Undoes and finishes what a crash left (what can't be, because the custodian is away, is tried
 * again before the next operation on that volume), and rebuilds the uses. */
struct storage_service *storage_service_new(const struct storage_service_params *params,
                                            GError **error);
void storage_service_free(struct storage_service *service);

enum storage_create_flags {
    STORAGE_CREATE_PREALLOC_METADATA = 1 << 0, /* libvirt's numbers */
    STORAGE_CREATE_REFLINK = 1 << 1,
    STORAGE_CREATE_VALIDATE = 1 << 2,
    STORAGE_CREATE_OVERWRITE = 1 << 16, /* what is on the device already */
    STORAGE_CREATE_DECRYPT = 1 << 17,   /* a clone in cleartext */
    STORAGE_CREATE_NEW_KEY = 1 << 18,   /* a clone with a key of its own though none is named */
};

struct storage_create_request {
    const char *pool;
    const char *xml;         /* <volume> */
    const char *source_pool; /* of a clone, else NULL. It may be no volume of ours */
    const char *source_volume;
    const struct secret_buf *key; /* of the new volume, given by a person; stored as a secret of the
                                   * volume. NULL: by the XML, or generated */
    const char *source_path;      /* of a source that is not ours, with its format */
    const char *source_format;
    unsigned int flags;
};

/* What a volume is called, for answers. */
struct storage_volume {
    char *pool;
    char *name;
    char *path;
    enum volume_kind kind;
    struct uuid secret;
    bool is_cleartext; /* made by STORAGE_CREATE_DECRYPT: no record, no secret */
    bool secret_is_generated;
    bool is_open;   /* dm-crypt */
    char *users;    /* as storage_uses_describe */
    char *state;    /* NULL, or "being created" and so on */
    GStrv warnings; /* or NULL */
};
void storage_volume_free(struct storage_volume *volume);

/* Whether virtcrypt makes a volume of this XML in this pool (false: it is libvirt's own business):
 * it has <encryption>, or its source has, or the pool has a policy. */
bool storage_service_wants(struct storage_service *service,
                           const struct storage_create_request *request, bool *ret_wants,
                           GError **error);
struct storage_volume *storage_service_create(struct storage_service *service,
                                              const struct storage_create_request *request,
                                              struct storage_progress *progress, GError **error);

/* Registers the LUKS volume `xml` (name, format and <target><path>; or found in the pool by its
 * name) with `key` (stored as a secret), or the secret that its <encryption> names, after opening
 * it. Nothing on it is changed. */
struct storage_volume *storage_service_adopt(struct storage_service *service,
                                             const struct storage_create_request *request,
                                             GError **error);

bool storage_service_delete(struct storage_service *service, const char *pool, const char *name,
                            struct storage_progress *progress, GError **error);
bool storage_service_wipe(struct storage_service *service, const char *pool, const char *name,
                          unsigned int algorithm, struct storage_progress *progress,
                          GError **error);
enum storage_resize_flags { /* libvirt's numbers */
                            STORAGE_RESIZE_ALLOCATE = 1 << 0,
                            STORAGE_RESIZE_DELTA = 1 << 1,
                            STORAGE_RESIZE_SHRINK = 1 << 2,
};
struct storage_resize {
    const char *pool;
    const char *name;
    uint64_t capacity; /* bytes */
    unsigned int flags;
};
bool storage_service_resize(struct storage_service *service, const struct storage_resize *wish,
                            struct storage_progress *progress, GError **error);
/* A key of its own, newly generated, in the place of the present one (keyslots only). */
struct storage_volume *storage_service_rekey(struct storage_service *service, const char *pool,
                                             const char *name, GError **error);

bool storage_service_get_info(struct storage_service *service, const char *pool, const char *name,
                              struct backend_info *ret_info, GError **error);
char *storage_service_describe(struct storage_service *service, const char *pool, const char *name,
                               GError **error); /* XML */
struct storage_volume *storage_service_get(struct storage_service *service, const char *pool,
                                           const char *name, GError **error);
/* By path, alias, link or device; NULL with ERROR_NO_STORAGE_VOL. */
struct storage_volume *storage_service_get_by_path(struct storage_service *service,
                                                   const char *path, GError **error);
GPtrArray *storage_service_list(struct storage_service *service, const char *pool);
/* A copy of the record of the volume that has (or leads to) `path`, as above; with NULL, of that
 * name. NULL without an error: it is none of ours. */
struct volume_record *storage_service_find_record(struct storage_service *service, const char *path,
                                                  const char *pool, const char *volume,
                                                  GError **error);

/* Opens a dm-crypt volume for `user`, and says under which path. */
char *storage_service_open(struct storage_service *service, const char *pool, const char *name,
                           const struct storage_user *user, GError **error);
/* The last user's closing closes the mapping; a use that is not there is
 * ERROR_OPERATION_INVALID. */
bool storage_service_close(struct storage_service *service, const char *pool, const char *name,
                           const struct storage_user *user, GError **error);

/* Everything that a guest needs before its start: opens its dm-crypt volumes; refuses a disk that
 * is the ciphertext of one, or LUKS without <encryption>. On an error nothing stays open for it. */
bool storage_service_prepare_guest(struct storage_service *service, const char *domain_xml,
                                   GError **error);
/* The same refusals, and nothing else. */
bool storage_service_check_guest(struct storage_service *service, const char *domain_xml,
                                 GError **error);
bool storage_service_release_guest(struct storage_service *service, const struct uuid *guest,
                                   GError **error);

/* ---- a volume whose key comes from another host, or has gone to one ---- */

/* The record of the volume with that path, as text for the other host; NULL without an error: none
 * of ours. One that is not READY is ERROR_RESOURCE_BUSY; one of dm-crypt, which is open on this
 * host alone, is ERROR_OPERATION_UNSUPPORTED. */
char *storage_service_give_record(struct storage_service *service, const char *path,
                                  GError **error);
/* Puts a record that came with `key`, if this host has none for that volume and sees the volume as
 * the other did: in an active pool of that name, at that path, and opened by the key. Otherwise
 * nothing is done, which is no error. */
bool storage_service_take_record(struct storage_service *service,
                                 const struct volume_record *record, const struct secret_buf *key,
                                 GError **error);
/* Drops the record of the volume with that path if `secret` is its key, which is gone from this
 * host. Volume and secret are not touched. True as well if there is none. */
bool storage_service_forget(struct storage_service *service, const char *path,
                            const struct uuid *secret, GError **error);

/* A key as volumes have: 32 random bytes as base64url, since QEMU takes UTF-8 alone. */
struct secret_buf *storage_service_generate_key(GError **error);

struct storage_pools *storage_service_pools(struct storage_service *service);
unsigned int storage_service_count(struct storage_service *service);
/* Volumes whose state is not READY, for the daemon's status. */
unsigned int storage_service_count_pending(struct storage_service *service);

typedef struct storage_volume storage_volume_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(storage_volume_t, storage_volume_free)
