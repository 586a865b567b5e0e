/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: assertions that the unit tests share.
 */
#pragma once

#include <glib.h>
#include <string.h>

#include "util/error.h"

/* The error has this code, domain and detail text. */
static inline void
expect_error(const GError *error, enum error_code code, enum error_domain domain,
             const char *detail)
{
    g_assert_nonnull(error);
    g_assert_cmpstr(error->message, ==, detail);
    g_assert_cmpint(error_get_code(error), ==, code);
    g_assert_cmpint(error_get_domain(error), ==, domain);
}

/* The same, and the detail only has to hold `part`. */
static inline void
expect_error_part(const GError *error, enum error_code code, enum error_domain domain,
                  const char *part)
{
    g_assert_nonnull(error);
    if (!strstr(error->message, part))
        g_error("'%s' does not hold '%s'", error->message, part);
    g_assert_cmpint(error_get_code(error), ==, code);
    g_assert_cmpint(error_get_domain(error), ==, domain);
}
