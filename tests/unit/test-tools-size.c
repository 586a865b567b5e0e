/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sizes in virsh's form. The reasons of refusals are libvirt's; tests/e2e compares more of them
 * with real virsh.
 */
#include <glib.h>

#include "tools/size.h"

static void
test_a_size_is_a_number_with_a_suffix(void)
{
    static const struct {
        const char *text;
        uint64_t size;
    } good[] = {
        {"0", 0},
        {"1023", 1023},
        {"+5", 5},
        {"010", 10},
        {"5b", 5},
        {"5bytes", 5},
        {"1k", 1024},
        {"1K", 1024},
        {"1KiB", 1024},
        {"1kb", 1000},
        {"3MB", 3000000},
        {"10G", UINT64_C(10) << 30},
        {"2t", UINT64_C(2) << 40},
        {"1PiB", UINT64_C(1) << 50},
        {"15E", UINT64_C(15) << 60},
        {"18446744073709551615", UINT64_MAX},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        uint64_t size = 7;

        g_assert_null(size_parse(good[i].text, &size));
        g_assert_cmpuint(size, ==, good[i].size);
    }
}

static void
test_what_is_no_size_is_refused_with_the_reason(void)
{
    static const struct {
        const char *text;
        const char *reason;
    } bad[] = {
        {"", ""},
        {"x", ""},
        {"-1", ""},
        {" 1", ""},
        {"18446744073709551616", ""},
        {"10Q", "invalid argument: unknown suffix 'Q'"},
        {"1.5G", "invalid argument: unknown suffix '.5G'"},
        {"0x10", "invalid argument: unknown suffix 'x10'"},
        {"1GiBi", "invalid argument: unknown suffix 'GiBi'"},
        {"1 G", "invalid argument: unknown suffix ' G'"},
        {"16E", "numerical overflow: value too large: 16E"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint64_t size = 7;
        g_autofree char *reason = size_parse(bad[i].text, &size);

        g_assert_cmpstr(reason, ==, bad[i].reason);
        g_assert_cmpuint(size, ==, 7);
    }
}

static void
test_a_size_is_shown_in_the_unit_that_fits(void)
{
    static const struct {
        uint64_t size;
        const char *shown;
    } sizes[] = {
        {0, "0.00 B"},
        {1023, "1023.00 B"},
        {1024, "1.00 KiB"},
        {1000448, "977.00 KiB"},
        {UINT64_C(10) << 30, "10.00 GiB"},
        {UINT64_MAX, "16.00 EiB"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        const char *unit;
        double scaled = size_scale(sizes[i].size, &unit);
        g_autofree char *shown = g_strdup_printf("%.2f %s", scaled, unit);

        g_assert_cmpstr(shown, ==, sizes[i].shown);
    }
}

#define ADD(name) g_test_add_func("/tools/size/" #name, name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_a_size_is_a_number_with_a_suffix);
    ADD(test_what_is_no_size_is_refused_with_the_reason);
    ADD(test_a_size_is_shown_in_the_unit_that_fits);
    return g_test_run();
}
