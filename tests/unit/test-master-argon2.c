/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * That the installed libargon2 is Argon2id of RFC 9106 (section 5.3).
 */
#include <argon2.h>
#include <glib.h>
#include <string.h>

static void
test_the_library_gives_the_rfcs_tag(void)
{
    static const uint8_t expected[] = {
        0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37,
        0xa3, 0x4a, 0x8b, 0x53, 0xc9, 0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75,
        0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
    };
    uint8_t password[32];
    uint8_t salt[16];
    uint8_t extra[8];
    uint8_t data[12];
    uint8_t tag[sizeof(expected)];
    argon2_context context = {
        .out = tag,
        .outlen = sizeof(tag),
        .pwd = password,
        .pwdlen = sizeof(password),
        .salt = salt,
        .saltlen = sizeof(salt),
        .secret = extra,
        .secretlen = sizeof(extra),
        .ad = data,
        .adlen = sizeof(data),
        .t_cost = 3,
        .m_cost = 32,
        .lanes = 4,
        .threads = 4,
        .version = ARGON2_VERSION_13,
    };

    memset(password, 1, sizeof(password));
    memset(salt, 2, sizeof(salt));
    memset(extra, 3, sizeof(extra));
    memset(data, 4, sizeof(data));
    g_assert_cmpint(argon2id_ctx(&context), ==, ARGON2_OK);
    g_assert_cmpmem(tag, sizeof(tag), expected, sizeof(expected));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/master/argon2/the library gives the rfcs tag",
                    test_the_library_gives_the_rfcs_tag);
    return g_test_run();
}
