/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Recovery passphrases: what is shown opens again however it is typed, and every slip is found and
 * named.
 */
#include "master/recovery_text.h"
#include "slots_fixture.h"

/* Of 32 bytes 5a, made by Python as docs/sealed-format.md says. */
static const char golden[] =
    "B9D5MPJD-TB9D5MPC-JTB9D5MK-PJTB9D57-MPJTB9DG-5MPJTB95-D5MPJTB7-9DC68Y65";

static void
expect_golden(const char *typed)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) text = slots_fixture_text(typed);
    g_autoptr(secret_buf_t) bytes = recovery_text_parse(text, &error);
    g_autoptr(secret_buf_t) expected = slots_fixture_bytes(0x5a, RECOVERY_SIZE);

    g_assert_no_error(error);
    g_assert_true(secret_buf_equal(bytes, expected));
}

static void
refuse(const char *typed, const char *detail)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) text = slots_fixture_text(typed);

    g_assert_null(recovery_text_parse(text, &error));
    expect_error(error, ERROR_INVALID_ARG, ERROR_FROM_SECRET, detail);
}

static void
test_text_of_the_format(void)
{
    g_autoptr(secret_buf_t) bytes = slots_fixture_bytes(0x5a, RECOVERY_SIZE);
    g_autoptr(secret_buf_t) text = recovery_text_format(bytes, NULL);

    g_assert_cmpmem(secret_buf_bytes(text), secret_buf_len(text), golden, sizeof(golden) - 1);
    g_assert_cmpuint(secret_buf_len(text), ==, RECOVERY_TEXT_LEN);
}

static void
test_random_ones_come_back(void)
{
    for (int i = 0; i < 100; i++) {
        g_autoptr(secret_buf_t) bytes = secret_buf_new_random(RECOVERY_SIZE, NULL);
        g_autoptr(secret_buf_t) text = recovery_text_format(bytes, NULL);
        g_autoptr(secret_buf_t) again = recovery_text_parse(text, NULL);

        g_assert_true(secret_buf_equal(bytes, again));
    }
}

static void
test_case_blanks_and_dashes_do_not_matter(void)
{
    expect_golden(golden);
    expect_golden("b9d5mpjdtb9d5mpcjtb9d5mkpjtb9d57mpjtb9dg5mpjtb95d5mpjtb79dc68y65\n");
    expect_golden(
        "  B9D5MPJD TB9D5MPC JTB9D5MK PJTB9D57\n MPJTB9DG--5MPJTB95\td5mpjtb7 9dc68y65  ");
}

static void
test_look_alikes_are_taken_for_what_they_look_like(void)
{
    /* Of the bytes 00 01 02 ... 1f. */
    g_autoptr(secret_buf_t) plain = slots_fixture_text(
        "000G40RJ-40M30E2Q-09185GRS-38E1W81K-24GK2GA7-HC5RR34G-D1P70X3H-RFJ55EXQ");
    g_autoptr(secret_buf_t) typed = slots_fixture_text(
        "oOoG4oRJ-4oM3OE2Q-O9l85GRS-38EIW8iK-24GK2GA7-HC5RR34G-DLP7oX3H-RFJ55EXQ");
    g_autoptr(secret_buf_t) expected = recovery_text_parse(plain, NULL);
    g_autoptr(secret_buf_t) got = recovery_text_parse(typed, NULL);

    g_assert_nonnull(expected);
    g_assert_nonnull(got);
    g_assert_true(secret_buf_equal(expected, got));
}

static void
test_wrong_lengths_and_characters_are_told(void)
{
    refuse("", "this is no recovery passphrase: it has 0 letters and digits instead of 64");
    refuse("B9D5MPJD-TB9D5MPC",
           "this is no recovery passphrase: it has 16 letters and digits instead of 64");
    refuse("B9D5MPJD-TB9D5MPC-JTB9D5MK-PJTB9D57-MPJTB9DG-5MPJTB95-D5MPJTB7-9DC68Y655",
           "this is no recovery passphrase: it has 65 letters and digits instead of 64");
    refuse("B9D5MPJD-TB9U5MPC-JTB9D5MK-PJTB9D57-MPJTB9DG-5MPJTB95-D5MPJTB7-9DC68Y65",
           "this is no recovery passphrase: group 2 has a character that is in none");
    refuse("such a long passphrase",
           "this is no recovery passphrase: group 1 has a character that is in none");
}

static void
test_exchanged_groups_are_found(void)
{
    refuse("TB9D5MPC-B9D5MPJD-JTB9D5MK-PJTB9D57-MPJTB9DG-5MPJTB95-D5MPJTB7-9DC68Y65",
           "group 1 of the recovery passphrase is mistyped, or in a wrong place");
}

static void
test_every_wrong_character_is_found(void)
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    for (size_t at = 0; at < sizeof(golden) - 1; at++) {
        for (size_t i = 0; golden[at] != '-' && i < sizeof(alphabet) - 1; i++) {
            g_autofree char *typed = g_strdup(golden);
            g_autoptr(secret_buf_t) text = NULL;

            if (alphabet[i] == golden[at])
                continue;
            typed[at] = alphabet[i];
            text = slots_fixture_text(typed);
            g_assert_null(recovery_text_parse(text, NULL));
        }
    }
}

#define ADD(name) g_test_add_func("/master/recovery_text/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(text_of_the_format);
    ADD(random_ones_come_back);
    ADD(case_blanks_and_dashes_do_not_matter);
    ADD(look_alikes_are_taken_for_what_they_look_like);
    ADD(wrong_lengths_and_characters_are_told);
    ADD(exchanged_groups_are_found);
    ADD(every_wrong_character_is_found);
    return g_test_run();
}
