/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: our answer to one configuration file, for the comparison with libvirtd's: nothing if the
 * syntax of the file named by the argument is right, else the error's whole text.
 */
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf_file.h"
#include "util/error.h"

int
main(int argc, char **argv)
{
    g_autofree char *text = NULL;
    g_autofree char *description = NULL;
    g_autoptr(conf_file_t) conf = NULL;
    g_autoptr(GError) error = NULL;
    gsize len;

    if (argc != 2 || !g_file_get_contents(argv[1], &text, &len, NULL))
        return EXIT_FAILURE;
    conf = conf_file_parse(argv[1], text, len, &error);
    if (!conf) {
        description = error_describe(error);
        puts(description);
    }
    return EXIT_SUCCESS;
}
