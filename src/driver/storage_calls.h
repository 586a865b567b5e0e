/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls to virtcryptd, each on a connection from storage_client. Work that it does as a
 * job is waited for until it is done; its warnings go to libvirtd's log.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "rpc/protocol/virtcrypt_volume.h"

/* Numbers in virtcrypt_volume_entry.kind. */
enum storage_entry_kind {
    STORAGE_ENTRY_QCOW2 = 0,
    STORAGE_ENTRY_RAW = 1,
    STORAGE_ENTRY_DM_CRYPT = 2
};

typedef struct virtcrypt_volume_entry storage_entry_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(storage_entry_t, virtcrypt_volume_entry_clear)

/* `ret_entry` is cleared by the caller. No such volume: ERROR_NO_STORAGE_VOL. */
bool storage_calls_get(const char *pool, const char *name, struct virtcrypt_volume_entry *ret_entry,
                       GError **error);
bool storage_calls_get_by_path(const char *path, struct virtcrypt_volume_entry *ret_entry,
                               GError **error);
bool storage_calls_get_info(const char *pool, const char *name,
                            struct virtcrypt_volume_get_info_ret *ret_info, GError **error);
char *storage_calls_get_xml(const char *pool, const char *name, GError **error);

/* Of struct virtcrypt_volume_entry, or NULL. */
GPtrArray *storage_calls_list(const char *pool, GError **error);

/* A volume to make. source_name (a volume of ours) or source_path and source_format (another
 * image) if it is a clone, else NULL. */
struct storage_new_volume {
    const char *pool;
    const char *xml;
    const char *source_pool;
    const char *source_name;
    const char *source_path;
    const char *source_format;
    unsigned int flags;
};

/* Whether virtcryptd makes it, and not libvirt. */
bool storage_calls_wants(const struct storage_new_volume *volume, bool *ret_wants, GError **error);
/* `ret_entry` is cleared by the caller. */
bool storage_calls_create(const struct storage_new_volume *volume,
                          struct virtcrypt_volume_entry *ret_entry, GError **error);

bool storage_calls_delete(const char *pool, const char *name, unsigned int flags, GError **error);
bool storage_calls_wipe(const char *pool, const char *name, unsigned int algorithm,
                        unsigned int flags, GError **error);
bool storage_calls_resize(const char *pool, const char *name, unsigned long long capacity,
                          unsigned int flags, GError **error);
