/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the module's entry, storageRegister: loads libvirt's own storage module and lets it
 * register, then puts virtcrypt's functions before some of its own. In a libvirt whose tables are
 * not known, and for a user's own libvirtd (virtcryptd is the system's alone), libvirt's driver is
 * left as it is. Never returns an error of our own to libvirtd, which would end then.
 */
#include <stdarg.h>
#include <unistd.h>

#include "driver/libvirt_module.h"
#include "driver/storage_client.h"
#include "driver/storage_module.h"
#include "driver/storage_slots.h"
#include "driver/storage_stream.h"
#include "util/error.h"

#define MODULE_NAME "libvirt_driver_storage.so"

__attribute__((visibility("default"))) int storageRegister(void);

static struct storage_module module;

struct storage_module *
storage_module_get(void)
{
    return &module;
}

void
storage_module_set_error(const GError *error)
{
    g_autofree char *text = error_describe(error);
    int number = error_get_errno(error);

    libvirt_module_set_error(&module.libvirt, error_get_domain(error), error_get_code(error),
                             number ? number : -1, text);
}

void
storage_module_error(int code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    libvirt_module_set_error(&module.libvirt, VIR_FROM_STORAGE, code, -1, text);
}

void
storage_module_warn(const char *format, ...)
{
    static struct libvirt_log_source source = {.name = "storage.virtcrypt"};
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    libvirt_module_warn(&module.libvirt, &source, text);
}

/* The table that libvirt's connections use; NULL if it has none. It hands out what is registered
 * when a driver without one is registered. That driver matches no URI. */
static struct libvirt_storage_driver *
find_table(void)
{
    static const char *no_scheme[] = {NULL};
    static struct libvirt_hypervisor_driver hypervisor = {.name = "virtcrypt"};
    static struct libvirt_connect_driver driver = {
        .local_only = true,
        .uri_schemes = no_scheme,
        .hypervisor = &hypervisor,
    };

    return module.libvirt.register_connect_driver(&driver, true) < 0 ? NULL : driver.storage;
}

/* Whether the table has what ours rely on: a driver of another build may lack functions. */
static const char *
find_missing(const struct libvirt_storage_driver *table)
{
    const void *const *entries = (const void *const *)table;

    if (g_strcmp0(table->name, "storage") != 0)
        return "its name";
    for (size_t i = 1; i < sizeof(*table) / sizeof(void *); i++) {
        if (!entries[i])
            return "a function";
    }
    return NULL;
}

static void
put_in_place(void)
{
    struct libvirt_storage_driver *table = find_table();
    const char *missing = table ? find_missing(table) : "the table";

    if (missing) {
        libvirt_module_say("libvirt's own storage driver is without %s that is expected: it is "
                           "used as it is, and encrypted volumes of virtcrypt can't be reached "
                           "through libvirtd; update virtcrypt",
                           missing);
        return;
    }
    module.original = *table;
    module.clients = storage_clients_new();
    module.streams = storage_streams_new();
    storage_create_install(table);
    storage_list_install(table);
    storage_lookup_install(table);
    storage_stream_install(table);
    storage_volume_install(table);
}

int
storageRegister(void)
{
    static const struct libvirt_symbol wanted[] = {LIBVIRT_STORAGE_SYMBOLS};
    unsigned long version = 0;
    g_autofree char *reason =
        libvirt_module_check(wanted, G_N_ELEMENTS(wanted), &module.libvirt, &version);
    g_autofree char *failure =
        libvirt_module_load_own(MODULE_NAME, "storageRegister", storageRegister);

    if (failure)
        libvirt_module_say("libvirt's own storage driver %s: libvirtd runs without storage",
                           failure);
    else if (reason)
        libvirt_module_say("%s: libvirt's own storage driver is used as it is, and encrypted "
                           "volumes of virtcrypt can't be reached through libvirtd; update "
                           "virtcrypt",
                           reason);
    else if (geteuid() == 0)
        put_in_place();
    return 0;
}
