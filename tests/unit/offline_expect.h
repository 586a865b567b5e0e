/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what tests expect of a store that no daemon has open.
 */
#pragma once

#include "expect.h"
#include "recover/offline_store.h"

static inline void
expect_value(const struct offline_store *store, const char *name, const char *value)
{
    g_autoptr(GError) error = NULL;
    const struct offline_secret *secret = offline_store_find(store, name, &error);
    g_autoptr(secret_buf_t) opened = NULL;

    g_assert_no_error(error);
    opened = offline_store_open_value(store, secret, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(secret_buf_bytes(opened), secret_buf_len(opened), value, strlen(value));
}
