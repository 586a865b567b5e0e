/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the calls of virtcrypt_store. Each has a file of its own, and lets nobody in
 * but local root (dispatch_check_local_root).
 */
#include "secret/dispatch_store.h"

const struct virtcrypt_store_handlers dispatch_store_handlers = {
    .import = dispatch_import,
};
