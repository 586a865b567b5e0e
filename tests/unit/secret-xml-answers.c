/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the parser's answers in a form that a script can compare with libvirtd's. For each request
 * "VALIDATE LENGTH\n" and as many bytes of XML on stdin it prints "ok 0 LENGTH\n" and the canonical
 * XML, or "CODE DOMAIN LENGTH\n" and the error's whole text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/secret_def.h"
#include "util/error.h"

static void
answer(const char *xml, size_t len, bool validate)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_def_t) def = secret_def_parse(xml, len, validate, &error);
    g_autofree char *text = def ? secret_def_format_dumpxml(def) : error_describe(error);

    if (def)
        printf("ok 0 %zu\n%s", strlen(text), text);
    else
        printf("%d %d %zu\n%s", error_get_code(error), error_get_domain(error), strlen(text), text);
    fflush(stdout);
}

int
main(void)
{
    unsigned int validate;
    size_t len;

    while (scanf("%u %zu", &validate, &len) == 2 && len <= 2 * (size_t)SECRET_DEF_XML_MAX) {
        g_autofree char *xml = g_malloc(len + 1);

        if (getchar() != '\n' || fread(xml, 1, len, stdin) != len)
            return EXIT_FAILURE;
        answer(xml, len, validate != 0);
    }
    return EXIT_SUCCESS;
}
