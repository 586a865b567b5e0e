/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: writing a store in the layout of libvirt's own driver: UUID.xml, and the value as
 * UUID.base64 or (libvirt 12.1 and later) UUID.aes256cbc. Nothing of the store itself is changed or
 * removed.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "recover/offline_store.h"

struct libvirt_export {
    const char *dir;              /* made if it is missing; NULL: the store's own folder */
    const struct secret_buf *key; /* libvirt's, of 32 bytes: UUID.aes256cbc; NULL: UUID.base64 */
};

struct libvirt_export_result {
    size_t definitions;
    size_t values;
};

/* What of the store can't be exported, and why: texts. It is unlocked. */
GPtrArray *libvirt_export_find_losses(const struct offline_store *store);

/* Writes all others: checks first that no file is in the way, adds a line for each value to the
 * audit, writes and flushes, reads everything back and compares. After an error the files that this
 * call wrote are wiped and removed; a crash leaves those that were written, each of them whole. */
bool libvirt_export_run(struct offline_store *store, const struct libvirt_export *params,
                        struct libvirt_export_result *ret_result, GError **error);
