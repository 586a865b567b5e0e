/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: who is asking, in the form in which libvirtd passes it on (virConnectSetIdentity). The
 * daemon decides by it what the caller may see.
 */
#pragma once

#include "driver/secret_module.h"

/* All zero: none was ever set, libvirtd acts for nobody else. `mark` is equal for equal identities
 * and holds nothing of them; it is there even if a set identity has no parameters. */
struct secret_identity {
    virTypedParameterPtr params;
    int count;
    char *mark;
};

/* A copy of `params`. */
void secret_identity_init(struct secret_identity *identity, const virTypedParameter *params,
                          int count);
void secret_identity_clear(struct secret_identity *identity);

typedef struct secret_identity secret_identity_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(secret_identity_t, secret_identity_clear)
