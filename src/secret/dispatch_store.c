/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the calls of virtcrypt_store. Each has a file of its own, and lets nobody in
 * but local root (dispatch_check_local_root).
 */
#include "secret/dispatch_store.h"

const struct virtcrypt_store_handlers dispatch_store_handlers = {
    .accept = dispatch_accept,
    .import = dispatch_import,
    .verify = dispatch_verify,
    .backup_begin = dispatch_backup_begin,
    .backup_read = dispatch_backup_read,
};
