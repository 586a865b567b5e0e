/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: libvirt's library, loaded when the first command needs it: linking it would make the start
 * of every other command take four times as long (21 ms, not 5).
 */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdbool.h>

#define LIBVIRT_CALLS(CALL)                                                                        \
    CALL(virConnectClose)                                                                          \
    CALL(virConnectOpenAuth)                                                                       \
    CALL(virDomainAbortJob)                                                                        \
    CALL(virDomainAttachDeviceFlags)                                                               \
    CALL(virDomainDestroy)                                                                         \
    CALL(virDomainFree)                                                                            \
    CALL(virDomainGetJobInfo)                                                                      \
    CALL(virDomainGetName)                                                                         \
    CALL(virDomainGetState)                                                                        \
    CALL(virDomainGetUUID)                                                                         \
    CALL(virDomainGetXMLDesc)                                                                      \
    CALL(virDomainIsActive)                                                                        \
    CALL(virDomainIsPersistent)                                                                    \
    CALL(virDomainLookupByID)                                                                      \
    CALL(virDomainLookupByName)                                                                    \
    CALL(virDomainLookupByUUID)                                                                    \
    CALL(virDomainMigrate3)                                                                        \
    CALL(virDomainSuspend)                                                                         \
    CALL(virDomainUndefineFlags)                                                                   \
    CALL(virGetLastError)                                                                          \
    CALL(virSetErrorFunc)                                                                          \
    CALL(virStoragePoolFree)                                                                       \
    CALL(virStoragePoolLookupByName)                                                               \
    CALL(virStoragePoolRefresh)                                                                    \
    CALL(virStorageVolFree)                                                                        \
    CALL(virStorageVolGetPath)                                                                     \
    CALL(virStorageVolGetXMLDesc)                                                                  \
    CALL(virStorageVolLookupByName)                                                                \
    CALL(virStorageVolLookupByPath)                                                                \
    CALL(virTypedParamsAddString)                                                                  \
    CALL(virTypedParamsAddULLong)                                                                  \
    CALL(virTypedParamsFree)

#define LIBVIRT_CALLS_MEMBER(name) __typeof__(&name) name;

struct libvirt_calls {
    LIBVIRT_CALLS(LIBVIRT_CALLS_MEMBER)
    virConnectAuthPtr auth_default;
};

/* Fills all members; the library stays loaded. */
bool libvirt_calls_load(struct libvirt_calls *ret_calls, GError **error);
