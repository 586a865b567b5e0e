/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the names of the methods, one file each (unlock_NAME.c), for the table in unlock.c.
 */
#pragma once

#include "master/unlock.h"

extern const struct unlock_method unlock_method_key_file;
extern const struct unlock_method unlock_method_credential;
extern const struct unlock_method unlock_method_recovery;
extern const struct unlock_method unlock_method_passphrase;
extern const struct unlock_method unlock_method_tpm2;
extern const struct unlock_method unlock_method_pkcs11;
