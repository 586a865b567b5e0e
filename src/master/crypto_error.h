/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: errors of GnuTLS as errors of ours.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* `rc` is what a function of GnuTLS returned, which fails by a number below 0. False: the error
 * says that we "cannot `what`", and why. */
bool crypto_error_check(int rc, const char *what, GError **error);
