/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: xml_file.h.
 */
#include "tools/xml_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

enum { XML_FILE_MAX = 10 * 1024 * 1024 };

/* The text, or NULL with errno set. */
static char *
read_text(int fd)
{
    g_autoptr(GString) text = g_string_new(NULL);
    char part[65536];

    for (;;) {
        ssize_t got = read(fd, part, sizeof(part));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return NULL;
        if (got == 0)
            return g_strdup(text->str);
        g_string_append_len(text, part, got);
        if (text->len > XML_FILE_MAX) {
            errno = EOVERFLOW;
            return NULL;
        }
    }
}

static void
set_file_error(GError **error, const char *doing, const char *path, int errnum)
{
    g_autofree char *text =
        g_strdup_printf("Failed to %s file '%s': %s", doing, path, g_strerror(errnum));

    error_set_remote(error, ERROR_FROM_NONE, ERROR_SYSTEM, text);
}

char *
xml_file_read(const char *path, GError **error)
{
    g_auto(file_fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *text;

    if (fd < 0) {
        set_file_error(error, "open", path, errno);
        return NULL;
    }
    text = read_text(fd);
    if (!text)
        set_file_error(error, "read", path, errno);
    return text;
}
