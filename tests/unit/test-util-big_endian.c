/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Numbers in file formats: most significant byte first, of any size up to 8 bytes.
 */
#include <glib.h>
#include <string.h>

#include "util/big_endian.h"

static void
test_number_is_put_most_significant_byte_first(void)
{
    static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0xff};
    uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 0xff};

    big_endian_put(bytes, 0x01020304, 4);
    g_assert_cmpmem(bytes, sizeof(bytes), expected, sizeof(expected));
}

static void
test_number_of_every_size_is_got_as_it_was_put(void)
{
    for (size_t size = 1; size <= 8; size++) {
        uint64_t number = G_MAXUINT64 >> (64 - 8 * size);
        uint8_t bytes[8] = {0};

        big_endian_put(bytes, number - 5, size);
        g_assert_cmpuint(big_endian_get(bytes, size), ==, number - 5);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/big_endian/order", test_number_is_put_most_significant_byte_first);
    g_test_add_func("/util/big_endian/sizes", test_number_of_every_size_is_got_as_it_was_put);
    return g_test_run();
}
