/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the volume parser's answers in a form that a script can compare with libvirt's. For each
 * request "LENGTH\n" and as many bytes of XML on stdin it prints "ok LENGTH\n" and the XML that we
 * would write, or "error LENGTH\n" and the error's whole text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/volume_def.h"
#include "util/error.h"

static void
answer(const char *xml, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(volume_def_t) def = volume_def_parse(xml, len, &error);
    g_autofree char *text = def ? volume_def_format(def) : error_describe(error);

    printf("%s %zu\n%s", def ? "ok" : "error", strlen(text), text);
    fflush(stdout);
}

int
main(void)
{
    size_t len;

    while (scanf("%zu", &len) == 1 && len <= 2 * (size_t)VOLUME_DEF_XML_MAX) {
        g_autofree char *xml = g_malloc(len + 1);

        if (getchar() != '\n' || fread(xml, 1, len, stdin) != len)
            return EXIT_FAILURE;
        answer(xml, len);
    }
    return EXIT_SUCCESS;
}
