/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what we make of volumes' XML, in a form that a script can compare with libvirt's. For each
 * request "parse LENGTH\n" or "put LENGTH\n" and as many bytes of XML on stdin it prints
 * "ok LENGTH\n" and XML (what we would write; the XML with an <encryption> put into it), or
 * "error LENGTH\n" and the error's whole text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/volume_def.h"
#include "util/error.h"

static char *
parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(volume_def_t) def = volume_def_parse(xml, len, error);

    return def ? volume_def_format(def) : NULL;
}

static char *
put(const char *xml, GError **error)
{
    struct encryption encryption = {.format = ENCRYPTION_FORMAT_LUKS,
                                    .secret_by = ENCRYPTION_SECRET_USAGE,
                                    .secret_usage = (char *)"put"};

    return volume_def_put_encryption(xml, &encryption, error);
}

static void
answer(const char *request, const char *xml, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *result =
        g_str_equal(request, "put") ? put(xml, &error) : parse(xml, len, &error);
    g_autofree char *text = result ? g_strdup(result) : error_describe(error);

    printf("%s %zu\n%s", result ? "ok" : "error", strlen(text), text);
    fflush(stdout);
}

int
main(void)
{
    char request[8];
    size_t len;

    while (scanf("%7s %zu", request, &len) == 2 && len <= 2 * (size_t)VOLUME_DEF_XML_MAX) {
        g_autofree char *xml = g_malloc0(len + 1);

        if (getchar() != '\n' || fread(xml, 1, len, stdin) != len)
            return EXIT_FAILURE;
        answer(request, xml, len);
    }
    return EXIT_SUCCESS;
}
