/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: who asks libvirtd, in the form in which virtcryptd is told (CONNECT_SET_IDENTITY). It
 * decides by it what the caller may do.
 */
#pragma once

#include <stdint.h>

#include "driver/storage_module.h"
#include "rpc/protocol/remote_connection.h"

/* All zero: libvirtd acts for nobody else. `mark` is equal for equal identities. */
struct storage_identity {
    struct remote_connect_set_identity_args args;
    char *mark;
};

/* That of the calling thread. */
void storage_identity_init(struct storage_identity *identity);
void storage_identity_clear(struct storage_identity *identity);

typedef struct storage_identity storage_identity_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(storage_identity_t, storage_identity_clear)
