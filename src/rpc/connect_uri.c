/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see connect_uri.h.
 */
#include "rpc/connect_uri.h"

#include <string.h>

#include "util/error.h"

/* libvirt compares schemes byte by byte, while GLib makes them lower case. */
static bool
has_scheme_of(const char *name, const char *expected)
{
    size_t len = strcspn(expected, ":");

    return strcspn(name, ":") == len && strncmp(name, expected, len) == 0;
}

static char *
path_of(const char *uri)
{
    char *path = NULL;

    g_uri_split(uri, G_URI_FLAGS_NONE, NULL, NULL, NULL, NULL, &path, NULL, NULL, NULL);
    return path;
}

bool
rpc_connect_uri_check(const char *name, const char *expected, GError **error)
{
    g_autofree char *scheme = NULL;
    g_autofree char *host = NULL;
    g_autofree char *path = NULL;
    g_autofree char *expected_path = path_of(expected);

    if (!g_uri_split(name, G_URI_FLAGS_NONE, &scheme, NULL, &host, NULL, &path, NULL, NULL, NULL) ||
        !scheme) {
        error_set(error, ERROR_FROM_NONE, ERROR_INTERNAL, "Unable to parse URI %s", name);
        return false;
    }
    if (!has_scheme_of(name, expected) || (host && host[0])) {
        error_set(error, ERROR_FROM_NONE, ERROR_NO_CONNECT, "%s", name);
        return false;
    }
    if (strcmp(path, expected_path) != 0) {
        error_set(error, ERROR_FROM_NONE, ERROR_INTERNAL, "unexpected %s URI path '%s', try %s",
                  scheme, path, expected);
        return false;
    }
    return true;
}
