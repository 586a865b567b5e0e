/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which PKCS#11 URIs (RFC 7512) a slot may have, and how one is shown. A PIN that was typed
 * into one, under whatever name, gets into no file, message or log.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* ERROR_INVALID_ARG unless all attributes are known ones that name a key, a module, or a file with
 * the PIN. The text has no value of the URI. */
bool pkcs11_uri_check(const char *uri, GError **error);

/* For people: what has no place in a slot's URI is left out, and "..." in its place. */
char *pkcs11_uri_show(const char *uri);
