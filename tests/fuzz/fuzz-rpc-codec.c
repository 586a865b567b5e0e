/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Every type of every program decoded from hostile bytes. What is refused comes with an error that
 * names a place; what is accepted is written and read again as the same bytes.
 */
#include <string.h>

#include "codec_types.h"
#include "target.h"
#include "util/error.h"

static void
check_value(const struct rpc_type *type, const void *value)
{
    g_autoptr(GBytes) first = codec_type_encode(type, value);
    g_autoptr(GBytes) second = NULL;
    size_t left = 1;
    void *again = codec_type_decode(type, g_bytes_get_data(first, NULL), g_bytes_get_size(first),
                                    &left, NULL);

    check(again && left == 0);
    second = codec_type_encode(type, again);
    check(g_bytes_equal(first, second));
    codec_type_free(type, again);
}

static void
check_type(const struct rpc_type *type, const uint8_t *input, size_t len)
{
    g_autoptr(GError) error = NULL;
    size_t left = 0;
    void *value = codec_type_decode(type, input, len, &left, &error);

    if (!value) {
        check(error && error_get_code(error) == ERROR_RPC &&
              error_get_domain(error) == ERROR_FROM_RPC && strstr(error->message, ": "));
        return;
    }
    check(!error && left <= len && type->encoded_size(value) == len - left);
    check_value(type, value);
    codec_type_free(type, value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    for (const struct rpc_type *const *type = codec_types(); *type; type++)
        check_type(*type, input, len);
    return 0;
}
