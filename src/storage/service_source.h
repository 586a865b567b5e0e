/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what a clone is made of: which volume or image, how it is encrypted, how to read it. And
 * what is found in a file or on a device by its first bytes. Inside src/storage only.
 */
#pragma once

#include "storage/luks.h"
#include "storage/service_state.h"

struct service_sniff {
    const char *format; /* "qcow2" or "raw" */
    bool is_encrypted;
    enum luks_type luks; /* of a raw one; LUKS_NONE: none, or inside a qcow2 */
    bool has_token;      /* of ours */
    struct luks_token token;
    uint64_t capacity; /* bytes: a qcow2's, or the size of a raw one that is not encrypted */
    bool is_block;
    bool is_split; /* a qcow2 whose data lies in another file */
    char *backing; /* a qcow2's backing file as its header has it, or NULL */
};
void service_sniff_clear(struct service_sniff *sniff);
typedef struct service_sniff service_sniff_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(service_sniff_t, service_sniff_clear)

/* A regular file or a block device; anything else is an error. */
bool service_sniff(const char *path, struct service_sniff *ret_sniff, GError **error);

struct service_source {
    struct service_lock *lock;
    struct volume_record *record; /* of a volume of ours, else NULL */
    char *path;
    char *format;
    bool is_encrypted;
    uint64_t capacity; /* 0: not known */
    struct uuid secret;
    bool key_is_generated;  /* of full entropy: recorded so, and it opens the source */
    struct secret_buf *key; /* of an image that QEMU opens */
    bool is_open;           /* a dm-crypt volume, for `user` */
    struct storage_user user;
    struct storage_service *service;
};

/* NULL without an error if the request has no source. */
struct service_source *service_source_new(struct storage_service *service,
                                          const struct storage_create_request *request,
                                          GError **error);
/* Gets its key, or opens it, for reading. */
bool service_source_open(struct service_source *source, GError **error);
/* For the backend, after service_source_open. */
struct backend_source service_source_view(const struct service_source *source);
/* Closes what was opened. */
void service_source_free(struct service_source *source);

typedef struct service_source service_source_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(service_source_t, service_source_free)
