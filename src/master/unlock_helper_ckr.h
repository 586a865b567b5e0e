/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the names of PKCS#11's results.
 */
#pragma once

/* p11-kit's types need this one. */
#include <p11-kit/p11-kit.h>

/* "CKR_PIN_INCORRECT"; NULL for one that PKCS#11 2.40 does not have, such as a vendor's. */
const char *unlock_ckr_name(CK_RV rv);
