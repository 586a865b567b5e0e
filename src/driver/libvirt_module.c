/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see libvirt_module.h. Nothing here is linked to libvirt's private functions: a libvirt that
 * lacks one would refuse to load the module at all, and say nothing that helps.
 */
#include "driver/libvirt_module.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* virLogPriority */
#define LOG_PRIORITY_WARN 3

void
libvirt_module_say(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "virtcrypt: %s\n", text);
    fflush(stderr);
}

char *
libvirt_module_check(const struct libvirt_symbol *wanted, size_t count,
                     struct libvirt_symbols *ret_symbols, unsigned long *ret_version)
{
    if (virGetVersion(ret_version, NULL, NULL) < 0)
        return g_strdup("libvirt does not tell its version");
    if (*ret_version < LIBVIRT_OLDEST || *ret_version > LIBVIRT_NEWEST)
        return g_strdup_printf("libvirt %lu.%lu.%lu is not between %lu.%lu and %lu.%lu, which this "
                               "version of virtcrypt knows",
                               *ret_version / 1000000, *ret_version / 1000 % 1000,
                               *ret_version % 1000, LIBVIRT_OLDEST / 1000000,
                               LIBVIRT_OLDEST / 1000 % 1000, LIBVIRT_NEWEST / 1000000,
                               LIBVIRT_NEWEST / 1000 % 1000);
    for (size_t i = 0; i < count; i++) {
        void *address = dlsym(RTLD_DEFAULT, wanted[i].name);

        if (!address)
            return g_strdup_printf("libvirt has no function %s", wanted[i].name);
        memcpy((char *)ret_symbols + wanted[i].offset, &address, sizeof(address));
    }
    return NULL;
}

char *
libvirt_module_load_own(const char *name, const char *register_name, int (*ours)(void))
{
    g_autofree char *path = g_build_filename(LIBVIRT_DRIVER_FOLDER, name, NULL);
    void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    int (*theirs)(void) = NULL;

    if (handle)
        *(void **)&theirs = dlsym(handle, register_name);
    if (!theirs || theirs == ours)
        return g_strdup_printf("can't be loaded: %s", handle ? path : dlerror());
    return theirs() < 0 ? g_strdup("refused to start") : NULL;
}

void
libvirt_module_set_error(const struct libvirt_symbols *libvirt, int domain, int code, int number,
                         const char *text)
{
    g_autofree char *message = g_strdup(text);
    g_autofree char *format = g_strdup("%s");
    virError error = {
        .code = code,
        .domain = domain,
        .message = message,
        .level = VIR_ERR_ERROR,
        .str1 = format,
        .str2 = message,
        .int1 = number,
        .int2 = -1,
    };

    libvirt->set_error(&error);
}

void
libvirt_module_restore_error(const struct libvirt_symbols *libvirt, virErrorPtr take_error)
{
    if (!take_error)
        return;
    libvirt->set_error(take_error);
    virFreeError(take_error);
}

void
libvirt_module_warn(const struct libvirt_symbols *libvirt, struct libvirt_log_source *source,
                    const char *text)
{
    libvirt->log_message(source, LOG_PRIORITY_WARN, __FILE__, __LINE__, __func__, NULL, "%s", text);
}
