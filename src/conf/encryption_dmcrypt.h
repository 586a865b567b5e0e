/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the yes/no attributes of <dmcrypt>, for reading and writing. Inside src/conf
 * only.
 */
#pragma once

#include "conf/encryption.h"

struct encryption_dmcrypt_flag {
    const char *name;
    size_t offset; /* of a bool in struct encryption_dmcrypt */
};

enum { ENCRYPTION_DMCRYPT_FLAG_COUNT = 5 };

/* In the order in which they are written. */
extern const struct encryption_dmcrypt_flag encryption_dmcrypt_flags[ENCRYPTION_DMCRYPT_FLAG_COUNT];
