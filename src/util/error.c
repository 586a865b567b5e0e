/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the error quark, libvirt's class texts, and the fields that a GError lacks.
 */
#include "util/error.h"

#include <stdarg.h>
#include <string.h>

typedef struct {
    int domain;
    int errnum;
    bool complete; /* the message holds its class text already */
    const char *function;
    const char *parameter;
} ErrorPrivate; /* the name that G_DEFINE_EXTENDED_ERROR asks for */

static void
error_private_init(ErrorPrivate *details)
{
    *details = (ErrorPrivate){0};
}

static void
error_private_copy(const ErrorPrivate *from, ErrorPrivate *to)
{
    *to = *from;
}

static void
error_private_clear(ErrorPrivate *details G_GNUC_UNUSED)
{
}

G_DEFINE_EXTENDED_ERROR(Error, error)

static const struct {
    int code;
    const char *format;
} class_formats[] = {
    {ERROR_INTERNAL, "internal error: %s"},
    {ERROR_NO_MEMORY, "out of memory: %s"},
    {ERROR_NO_SUPPORT, "this function is not supported by the connection driver: %s"},
    {ERROR_NO_CONNECT, "no connection driver available for %s"},
    {ERROR_INVALID_CONN, "invalid connection pointer in %s"},
    {ERROR_INVALID_ARG, "invalid argument: %s"},
    {ERROR_OPERATION_FAILED, "operation failed: %s"},
    {ERROR_XML, "XML error: %s"},
    {ERROR_OPERATION_DENIED, "operation forbidden: %s"},
    {ERROR_CONF_SYNTAX, "configuration file syntax error: %s"},
    {ERROR_NO_DOMAIN, "Domain not found: %s"},
    {ERROR_AUTH_FAILED, "authentication failed: %s"},
    {ERROR_NO_STORAGE_POOL, "Storage pool not found: %s"},
    {ERROR_NO_STORAGE_VOL, "Storage volume not found: %s"},
    {ERROR_OPERATION_INVALID, "Requested operation is not valid: %s"},
    {ERROR_INVALID_SECRET, "Invalid secret: %s"},
    {ERROR_NO_SECRET, "Secret not found: %s"},
    {ERROR_CONFIG_UNSUPPORTED, "unsupported configuration: %s"},
    {ERROR_OPERATION_TIMEOUT, "Timed out during operation: %s"},
    {ERROR_ARGUMENT_UNSUPPORTED, "argument unsupported: %s"},
    {ERROR_OPERATION_ABORTED, "operation aborted: %s"},
    {ERROR_AUTH_CANCELLED, "authentication cancelled: %s"},
    {ERROR_OVERFLOW, "numerical overflow: %s"},
    {ERROR_OPERATION_UNSUPPORTED, "Operation not supported: %s"},
    {ERROR_RESOURCE_BUSY, "resource busy: %s"},
    {ERROR_ACCESS_DENIED, "access denied: %s"},
    {ERROR_STORAGE_VOL_EXIST, "storage volume %s exists already"},
    {ERROR_XML_INVALID_SCHEMA, "XML document failed to validate against schema: %s"},
    {ERROR_AUTH_UNAVAILABLE, "authentication unavailable: %s"},
};

const char *
error_class_format(int code)
{
    for (size_t i = 0; i < G_N_ELEMENTS(class_formats); i++) {
        if (class_formats[i].code == code)
            return class_formats[i].format;
    }
    return "%s";
}

static void
set_fields(GError **error, int domain, int errnum, bool complete)
{
    ErrorPrivate *details;

    if (!error || !*error)
        return;
    details = error_get_private(*error);
    details->domain = domain;
    details->errnum = errnum;
    details->complete = complete;
}

void
error_set(GError **error, enum error_domain domain, enum error_code code, const char *format, ...)
{
    g_autofree char *detail = NULL;
    va_list args;

    va_start(args, format);
    detail = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, ERROR_QUARK, (int)code, detail);
    set_fields(error, (int)domain, 0, false);
}

void
error_set_errno(GError **error, enum error_domain domain, int errnum, const char *format, ...)
{
    g_autofree char *detail = NULL;
    va_list args;

    va_start(args, format);
    detail = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, ERROR_QUARK, ERROR_SYSTEM, "%s: %s", detail, g_strerror(errnum));
    set_fields(error, (int)domain, errnum, false);
}

void
error_set_remote(GError **error, int domain, int code, const char *message)
{
    g_set_error_literal(error, ERROR_QUARK, code, message);
    set_fields(error, domain, 0, true);
}

void
error_set_argument(GError **error, enum error_domain domain, const char *function,
                   const char *parameter, const char *format, ...)
{
    g_autofree char *message = NULL;
    ErrorPrivate *details;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    error_set_remote(error, (int)domain, ERROR_INVALID_ARG, message);
    if (!error || !*error)
        return;
    details = error_get_private(*error);
    details->function = function;
    details->parameter = parameter;
}

const char *
error_get_function(const GError *error)
{
    return error->domain == ERROR_QUARK ? error_get_private(error)->function : NULL;
}

const char *
error_get_parameter(const GError *error)
{
    return error->domain == ERROR_QUARK ? error_get_private(error)->parameter : NULL;
}

bool
error_is(const GError *error, enum error_code code)
{
    return g_error_matches(error, ERROR_QUARK, (int)code);
}

int
error_get_domain(const GError *error)
{
    return error->domain == ERROR_QUARK ? error_get_private(error)->domain : ERROR_FROM_NONE;
}

int
error_get_code(const GError *error)
{
    return error->domain == ERROR_QUARK ? error->code : ERROR_INTERNAL;
}

int
error_get_errno(const GError *error)
{
    return error->domain == ERROR_QUARK ? error_get_private(error)->errnum : 0;
}

char *
error_describe(const GError *error)
{
    const char *format = error_class_format(error_get_code(error));
    const char *mark = strstr(format, "%s");

    if (error->domain == ERROR_QUARK && error_get_private(error)->complete)
        return g_strdup(error->message);
    return g_strdup_printf("%.*s%s%s", (int)(mark - format), format, error->message, mark + 2);
}
