/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What keyslots of typed keys cost to try.
 */
#include "luks_fixture.h"
#include "patience.h"

/* Key derivation under valgrind would take minutes, and shows nothing. */
static bool
is_too_slow(void)
{
    if (!is_under_memcheck())
        return false;
    g_test_skip("too slow under valgrind");
    return true;
}

static void
test_typed_keys_of_luks1_cost_seconds_as_with_stock_tools(struct luks_fixture *fixture,
                                                          gconstpointer unused)
{
    const struct luks_format_params params = {.type = LUKS_1, .kdf = LUKS_KDF_STRONG};
    g_autoptr(GError) error = NULL;
    g_autofree char *dump = NULL;
    const char *rounds;

    if (is_too_slow())
        return;
    luks_format(&fixture->place, &params, fixture->key, &error);
    g_assert_no_error(error);
    g_assert_true(
        luks_fixture_run(&dump, "cryptsetup luksDump %s | tr -s ' \t' ' '", fixture->path));
    rounds = strstr(dump, "\n Iterations: ");
    g_assert_nonnull(rounds);
    g_assert_cmpuint(g_ascii_strtoull(rounds + strlen("\n Iterations: "), NULL, 10), >, 100000);
}

static void
test_typed_keys_of_luks2_use_argon2id_not_below_the_recommendation(struct luks_fixture *fixture,
                                                                   gconstpointer unused)
{
    const struct luks_format_params params = {.type = LUKS_2, .kdf = LUKS_KDF_STRONG};
    g_autoptr(GError) error = NULL;
    g_autofree char *dump = NULL;
    const char *memory;

    if (is_too_slow())
        return;
    luks_format(&fixture->place, &params, fixture->key, &error);
    g_assert_no_error(error);
    g_assert_true(
        luks_fixture_run(&dump, "cryptsetup luksDump %s | tr -s ' \t' ' '", fixture->path));
    g_assert_nonnull(strstr(dump, "PBKDF: argon2id"));
    memory = strstr(dump, "Memory: ");
    g_assert_nonnull(memory);
    g_assert_cmpuint(g_ascii_strtoull(memory + strlen("Memory: "), NULL, 10), >=, 65536);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func)                                                                            \
    g_test_add("/storage/luks/kdf/" path, struct luks_fixture, NULL, luks_fixture_init, func,      \
               luks_fixture_clear)
    ADD("luks1", test_typed_keys_of_luks1_cost_seconds_as_with_stock_tools);
    ADD("luks2", test_typed_keys_of_luks2_use_argon2id_not_below_the_recommendation);
    return g_test_run();
}
