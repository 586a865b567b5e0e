/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the numbers that libvirt's clients know errors by (virErrorNumber and virErrorDomain of
 * libvirt's public virterror.h) and GErrors that carry them. An error is set once, where it
 * arises; its message is the detail only, and error_describe adds libvirt's class text.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum error_code {
    ERROR_INTERNAL = 1,
    ERROR_NO_MEMORY = 2,
    ERROR_NO_SUPPORT = 3,
    ERROR_NO_CONNECT = 5,
    ERROR_INVALID_CONN = 6,
    ERROR_INVALID_ARG = 8,
    ERROR_OPERATION_FAILED = 9,
    ERROR_XML = 27,
    ERROR_OPERATION_DENIED = 29,
    ERROR_CONF_SYNTAX = 33,
    ERROR_XML_DETAIL = 35,
    ERROR_SYSTEM = 38,
    ERROR_RPC = 39,
    ERROR_NO_DOMAIN = 42,
    ERROR_AUTH_FAILED = 45,
    ERROR_NO_STORAGE_POOL = 49,
    ERROR_NO_STORAGE_VOL = 50,
    ERROR_OPERATION_INVALID = 55,
    ERROR_INVALID_SECRET = 65,
    ERROR_NO_SECRET = 66,
    ERROR_CONFIG_UNSUPPORTED = 67,
    ERROR_OPERATION_TIMEOUT = 68,
    ERROR_ARGUMENT_UNSUPPORTED = 74,
    ERROR_OPERATION_ABORTED = 78,
    ERROR_AUTH_CANCELLED = 79,
    ERROR_OVERFLOW = 82,
    ERROR_OPERATION_UNSUPPORTED = 84,
    ERROR_RESOURCE_BUSY = 87,
    ERROR_ACCESS_DENIED = 88,
    ERROR_STORAGE_VOL_EXIST = 90,
    ERROR_XML_INVALID_SCHEMA = 92,
    ERROR_AUTH_UNAVAILABLE = 94,
};

enum error_domain {
    ERROR_FROM_NONE = 0,
    ERROR_FROM_XML = 5,
    ERROR_FROM_RPC = 7,
    ERROR_FROM_CONF = 9,
    ERROR_FROM_REMOTE = 13,
    ERROR_FROM_STORAGE = 18,
    ERROR_FROM_DOMAIN = 20,
    ERROR_FROM_SECRET = 30,
    ERROR_FROM_AUTH = 46,
    ERROR_FROM_IDENTITY = 53,
    ERROR_FROM_ACCESS = 55,
    ERROR_FROM_POLKIT = 60,
};

#define ERROR_QUARK error_quark()
GQuark error_quark(void);

/* Sets *error (when error is not NULL) to the detail text, code and domain given. */
void error_set(GError **error, enum error_domain domain, enum error_code code, const char *format,
               ...) G_GNUC_PRINTF(4, 5);

/* The same with code ERROR_SYSTEM; ": " and the text of `errnum` are appended. */
void error_set_errno(GError **error, enum error_domain domain, int errnum, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

/* An argument of a call that libvirt refuses by name: `message` is complete (libvirt has no class
 * text here), the code ERROR_INVALID_ARG. `function` and `parameter` (literals) go along. */
void error_set_argument(GError **error, enum error_domain domain, const char *function,
                        const char *parameter, const char *format, ...) G_GNUC_PRINTF(5, 6);

/* What error_set_argument was given, else NULL. */
const char *error_get_function(const GError *error);
const char *error_get_parameter(const GError *error);

/* An error that came over the wire: `message` is already complete (class text included). */
void error_set_remote(GError **error, int domain, int code, const char *message);

bool error_is(const GError *error, enum error_code code);

/* libvirt's domain number; ERROR_FROM_NONE for an error that is not ours. */
int error_get_domain(const GError *error);

/* libvirt's code; ERROR_INTERNAL for an error that is not ours. */
int error_get_code(const GError *error);

/* The errno of an ERROR_SYSTEM error, else 0. */
int error_get_errno(const GError *error);

/* libvirt's class text of a code, holding exactly one "%s" for the detail. Never NULL. */
const char *error_class_format(int code);

/* Class text and detail together, as virsh prints them. The caller frees it. */
char *error_describe(const GError *error);
