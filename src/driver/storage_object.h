/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which volumes and pools are virtcrypt's. The first look costs a name in a folder:
 * virtcryptd has a record file for each volume and a policy file for each pool that has one. Only
 * for a name with a record is virtcryptd asked for more.
 */
#pragma once

#include "driver/storage_calls.h"
#include "driver/storage_module.h"

enum storage_kind {
    STORAGE_KIND_OTHER,     /* libvirt's own business */
    STORAGE_KIND_IMAGE,     /* libvirt knows it as a volume: a file or device with LUKS in it */
    STORAGE_KIND_MAPPED,    /* dm-crypt: libvirt does not know it */
    STORAGE_KIND_CONTAINER, /* ciphertext of a mapped one, or a file that is being made: hidden */
    STORAGE_KIND_UNKNOWN,   /* it has a record, and virtcryptd does not say more */
};

struct storage_object {
    enum storage_kind kind;
    char *pool;
    char *name;
    struct virtcrypt_volume_entry entry; /* IMAGE, MAPPED */
    GError *error;                       /* UNKNOWN: why */
};

/* The volume `name` of `pool`. Asks virtcryptd if it has a record. */
void storage_object_init(struct storage_object *object, const char *pool, const char *name);
/* The same of a libvirt object. */
void storage_object_init_volume(struct storage_object *object, virStorageVolPtr volume);
void storage_object_clear(struct storage_object *object);

/* Whether it may be passed on to libvirt's own function; false with the thread's libvirt error set:
 * a container (there is no such volume), or one of which nobody knows what it is. */
bool storage_object_is_usable(const struct storage_object *object);

/* The pool's name; the caller frees it. NULL with the thread's libvirt error set. */
char *storage_object_get_pool(virStorageVolPtr volume);

/* Whether there is a record, without asking anybody. */
bool storage_object_is_recorded(const char *pool, const char *name);
/* Whether the name is that of a recorded volume, of its container or of a file being made. */
bool storage_object_is_taken(const char *pool, const char *name);
/* Whether the pool may have volumes of virtcrypt. */
bool storage_object_has_any(const char *pool);
bool storage_object_has_policy(const char *pool);
/* Whether a volume of that name is recorded in any pool. */
bool storage_object_is_recorded_anywhere(const char *name);

/* The stem of "STEM.crypt"; NULL for another name. */
char *storage_object_get_stem(const char *name);
/* ".NAME.virtcrypt-new": a file being made. */
bool storage_object_is_temporary(const char *name);

/* A libvirt object for a mapped volume; its key is the path. */
virStorageVolPtr storage_object_new_volume(virConnectPtr conn,
                                           const struct virtcrypt_volume_entry *entry);

/* Lets libvirt see what virtcryptd did in the pool. What libvirt does there at the time is waited
 * for within a bound; a failure is logged. */
void storage_object_refresh(virStoragePoolPtr pool);
void storage_object_refresh_of(virStorageVolPtr volume);

typedef struct storage_object storage_object_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(storage_object_t, storage_object_clear)
