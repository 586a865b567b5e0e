/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: size.h.
 */
#include "tools/size.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char letters[] = "KMGTPE";

/* 0 for a suffix that is not known. */
static uint64_t
base_of(const char *rest)
{
    if (!*rest || strcasecmp(rest, "ib") == 0)
        return 1024;
    return strcasecmp(rest, "b") == 0 ? 1000 : 0;
}

/* 0 for a suffix that is not known. */
static uint64_t
factor_of(const char *suffix)
{
    const char *letter = *suffix ? strchr(letters, g_ascii_toupper(*suffix)) : NULL;
    uint64_t base = letter ? base_of(suffix + 1) : 0;
    uint64_t factor = 1;

    if (!*suffix || strcasecmp(suffix, "b") == 0 || strcasecmp(suffix, "byte") == 0 ||
        strcasecmp(suffix, "bytes") == 0)
        return 1;
    if (base == 0)
        return 0;
    for (const char *at = letters; at <= letter; at++)
        factor *= base;
    return factor;
}

char *
size_parse(const char *text, uint64_t *ret_size)
{
    char *suffix;
    uint64_t number;
    uint64_t factor;

    if (*text == '+')
        text++;
    if (!g_ascii_isdigit(*text))
        return g_strdup("");
    errno = 0;
    number = g_ascii_strtoull(text, &suffix, 10);
    if (errno != 0)
        return g_strdup("");
    factor = factor_of(suffix);
    if (factor == 0)
        return g_strdup_printf("invalid argument: unknown suffix '%s'", suffix);
    if (number > G_MAXUINT64 / factor)
        return g_strdup_printf("numerical overflow: value too large: %" G_GUINT64_FORMAT "%s",
                               number, suffix);
    *ret_size = number * factor;
    return NULL;
}

double
size_scale(uint64_t bytes, const char **ret_unit)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double scaled = (double)bytes;
    size_t i = 0;

    for (; scaled >= 1024 && i + 1 < G_N_ELEMENTS(units); i++)
        scaled /= 1024;
    *ret_unit = units[i];
    return scaled;
}
