/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: crypto_error.h.
 */
#include "master/crypto_error.h"

#include <gnutls/gnutls.h>

#include "util/error.h"

bool
crypto_error_check(int rc, const char *what, GError **error)
{
    if (rc >= 0)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL, "cannot %s: %s", what, gnutls_strerror(rc));
    return false;
}
