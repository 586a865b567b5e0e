/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: recovery passphrases as people read, write down and type them: 256 bits in 8 groups of 8
 * letters and digits, of which none looks like another. The last character of each group checks the
 * group, the last five the whole, so that a slip is found and named before anything is tried.
 */
#pragma once

#include <glib.h>

#include "util/secret_buf.h"

enum {
    RECOVERY_SIZE = 32, /* bytes */
    RECOVERY_GROUPS = 8,
    RECOVERY_GROUP_LEN = 8,
    RECOVERY_TEXT_LEN = RECOVERY_GROUPS * (RECOVERY_GROUP_LEN + 1) - 1,
};

/* RECOVERY_TEXT_LEN characters for RECOVERY_SIZE bytes, with dashes, without a closing NUL. */
struct secret_buf *recovery_text_format(const struct secret_buf *bytes, GError **error);

/* The bytes. Case, blanks and dashes do not matter; O, I and L are taken for 0 and 1.
 * ERROR_INVALID_ARG names the group that is wrong. */
struct secret_buf *recovery_text_parse(const struct secret_buf *text, GError **error);
