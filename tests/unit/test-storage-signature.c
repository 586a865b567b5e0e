/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is found on a device before it is overwritten.
 */
#include "luks_fixture.h"
#include "storage/signature.h"

static const struct found {
    const char *command; /* %s: the file */
    const char *text;
} found[] = {
    {"mkfs.ext4 -q -L home %s", "file system 'ext4' called 'home', at byte 1080"},
    {"mkswap -q %s || mkswap %s", "'swap'"},
    {"printf '\\0\\040\\041\\0\\203\\0\\0\\0\\0\\010\\0\\0\\0\\010\\0\\0' | dd of=%s bs=1 seek=446 "
     "conv=notrunc status=none; printf '\\125\\252' | dd of=%s bs=1 seek=510 conv=notrunc",
     "a partition table of type 'dos', at byte 510"},
    {"cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 %s "
     "/proc/self/cmdline",
     "encrypted container 'crypto_LUKS', at byte 0"},
    {"printf 'LABELONE\\1\\0\\0\\0\\0\\0\\0\\0\\130\\310\\204\\307\\040\\0\\0\\0LVM2 "
     "001abcdefghijklmnopqrstuvwxyz012345' | dd of=%s bs=1 seek=512 conv=notrunc",
     "'LVM2_member'"},
};

static void
make_signature(const struct luks_fixture *fixture, const struct found *row)
{
    g_auto(GStrv) parts = g_strsplit(row->command, "%s", -1);
    g_autofree char *command = g_strjoinv(fixture->path, parts);

    g_assert_true(luks_fixture_run(NULL, "%s", command));
}

static void
test_each_kind_is_found_and_named(struct luks_fixture *fixture, gconstpointer row)
{
    const struct found *signature = row;
    g_autoptr(GError) error = NULL;

    make_signature(fixture, signature);
    g_assert_false(signature_check_none(fixture->path, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, signature->text);
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, "--force");
}

static void
test_each_kind_is_gone_after_wiping(struct luks_fixture *fixture, gconstpointer row)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *left = NULL;

    make_signature(fixture, row);
    signature_wipe(fixture->path, &error);
    g_assert_no_error(error);
    signature_check_none(fixture->path, &error);
    g_assert_no_error(error);
    g_assert_true(luks_fixture_run(&left, "wipefs %s", fixture->path));
    g_assert_cmpstr(left, ==, "");
}

static void
test_an_empty_one_holds_nothing(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    signature_check_none(fixture->path, &error);
    g_assert_no_error(error);
    signature_wipe(fixture->path, &error);
    g_assert_no_error(error);
}

static void
test_a_missing_one_is_an_error(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_unlink(fixture->path);
    g_assert_false(signature_check_none(fixture->path, &error));
    expect_error_part(error, ERROR_NO_STORAGE_VOL, ERROR_FROM_STORAGE, "there is no '");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(found); i++) {
        g_autofree char *find = g_strdup_printf("/storage/signature/find/%zu", i);
        g_autofree char *wipe = g_strdup_printf("/storage/signature/wipe/%zu", i);

        g_test_add(find, struct luks_fixture, &found[i], luks_fixture_init,
                   test_each_kind_is_found_and_named, luks_fixture_clear);
        g_test_add(wipe, struct luks_fixture, &found[i], luks_fixture_init,
                   test_each_kind_is_gone_after_wiping, luks_fixture_clear);
    }
    g_test_add("/storage/signature/none", struct luks_fixture, NULL, luks_fixture_init,
               test_an_empty_one_holds_nothing, luks_fixture_clear);
    g_test_add("/storage/signature/missing", struct luks_fixture, NULL, luks_fixture_init,
               test_a_missing_one_is_an_error, luks_fixture_clear);
    return g_test_run();
}
