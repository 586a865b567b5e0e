/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt_calls.h.
 */
#include "tools/libvirt_calls.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "util/error.h"

static const struct {
    const char *name;
    size_t offset;
} calls[] = {
#define LIBVIRT_CALLS_ENTRY(name) {#name, offsetof(struct libvirt_calls, name)},
    LIBVIRT_CALLS(LIBVIRT_CALLS_ENTRY)
#undef LIBVIRT_CALLS_ENTRY
};

static bool
refuse(GError **error)
{
    error_set(error, ERROR_FROM_NONE, ERROR_NO_SUPPORT, "libvirt's library can't be used: %s",
              dlerror());
    return false;
}

bool
libvirt_calls_load(struct libvirt_calls *ret_calls, GError **error)
{
    void *library = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    struct libvirt_calls loaded = {0};
    virConnectAuthPtr *auth_default;

    if (!library)
        return refuse(error);
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        void *call = dlsym(library, calls[i].name);

        if (!call)
            return refuse(error);
        memcpy((char *)&loaded + calls[i].offset, &call, sizeof(call));
    }
    auth_default = dlsym(library, "virConnectAuthPtrDefault");
    if (!auth_default)
        return refuse(error);
    loaded.auth_default = *auth_default;
    *ret_calls = loaded;
    return true;
}
