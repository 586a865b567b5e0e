/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: all that the connector knows of libvirt's inside: the layout of the driver tables and the
 * private functions it looks up at run time. These are our own declarations of facts that were
 * read in libvirt's headers (src/driver.h, src/driver-secret.h, src/driver-hypervisor.h of 9.0.0
 * and 11.3.0) and, for 9.0.0, checked in the tables of Debian's libvirt_driver_secret.so.
 *
 * What may change between versions is kept out: of the hypervisor table, which grew from 258 to 263
 * entries between those two, only the first seven places have a name here, and it is larger than
 * any version reads.
 */
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdbool.h>
#include <stddef.h>

/* The versions with these layouts, as virGetVersion counts (11.3.0 is 11003000). A build may narrow
 * them to test what happens with another one. */
#ifndef LIBVIRT_OLDEST
#define LIBVIRT_OLDEST 9000000ul
#endif
#ifndef LIBVIRT_NEWEST
#define LIBVIRT_NEWEST 11003999ul
#endif

/* virDrvOpenStatus */
enum libvirt_open_status { LIBVIRT_OPEN_SUCCESS = 0, LIBVIRT_OPEN_ERROR = -2 };

/* virHypervisorDriver. Entries after the first seven are at places that depend on the version. */
#define LIBVIRT_HYPERVISOR_NAMED   7
#define LIBVIRT_HYPERVISOR_ENTRIES 512
struct libvirt_hypervisor_driver {
    const char *name;
    int (*uri_probe)(char **uri);
    int (*open)(virConnectPtr conn, virConnectAuthPtr auth, void *conf, unsigned int flags);
    int (*close)(virConnectPtr conn);
    int (*set_identity)(virConnectPtr conn, virTypedParameterPtr params, int count,
                        unsigned int flags);
    int (*supports_feature)(virConnectPtr conn, int feature);
    const char *(*get_type)(virConnectPtr conn);
    void (*later[LIBVIRT_HYPERVISOR_ENTRIES - LIBVIRT_HYPERVISOR_NAMED])(void);
};

/* Places in `later` of connectIsEncrypted, connectIsSecure and connectIsAlive, each an
 * int (*)(virConnectPtr). The same from 9.0.0 until 10.2.0, where the table first grew. */
#define LIBVIRT_LATER_NEWEST 10001999ul
enum libvirt_hypervisor_later {
    LIBVIRT_LATER_IS_ENCRYPTED = 128 - LIBVIRT_HYPERVISOR_NAMED,
    LIBVIRT_LATER_IS_SECURE = 129 - LIBVIRT_HYPERVISOR_NAMED,
    LIBVIRT_LATER_IS_ALIVE = 195 - LIBVIRT_HYPERVISOR_NAMED,
};

/* virSecretDriver */
struct libvirt_secret_driver {
    const char *name;
    int (*num_of_secrets)(virConnectPtr conn);
    int (*list_secrets)(virConnectPtr conn, char **uuids, int max);
    int (*list_all_secrets)(virConnectPtr conn, virSecretPtr **secrets, unsigned int flags);
    virSecretPtr (*lookup_by_uuid)(virConnectPtr conn, const unsigned char *uuid);
    virSecretPtr (*lookup_by_usage)(virConnectPtr conn, int usage_type, const char *usage_id);
    virSecretPtr (*define_xml)(virConnectPtr conn, const char *xml, unsigned int flags);
    char *(*get_xml_desc)(virSecretPtr secret, unsigned int flags);
    int (*set_value)(virSecretPtr secret, const unsigned char *value, size_t len,
                     unsigned int flags);
    unsigned char *(*get_value)(virSecretPtr secret, size_t *len, unsigned int flags);
    int (*undefine)(virSecretPtr secret);
    int (*event_register_any)(virConnectPtr conn, virSecretPtr secret, int event,
                              virConnectSecretEventGenericCallback callback, void *opaque,
                              virFreeCallback free_opaque);
    int (*event_deregister_any)(virConnectPtr conn, int id);
};

/* virConnectDriver */
struct libvirt_connect_driver {
    bool local_only;
    bool remote_only;
    bool embeddable;
    const char **uri_schemes;
    struct libvirt_hypervisor_driver *hypervisor;
    void *interface;
    void *network;
    void *node_device;
    void *nwfilter;
    struct libvirt_secret_driver *secret;
    void *storage;
};

/* virLogSource: libvirt keeps in it what its log filters say. */
struct libvirt_log_source {
    const char *name;
    unsigned int state[6];
};

/* Functions of libvirt.so that are not for the public. */
struct libvirt_symbols {
    int (*register_connect_driver)(struct libvirt_connect_driver *driver, bool set_shared);
    int (*set_shared_secret_driver)(struct libvirt_secret_driver *driver);
    virSecretPtr (*get_secret)(virConnectPtr conn, const unsigned char *uuid, int usage_type,
                               const char *usage_id);
    int (*set_error)(virErrorPtr error);
    virConnectPtr (*get_connect_secret)(void);
    void (*log_message)(struct libvirt_log_source *source, int priority, const char *file, int line,
                        const char *function, void *metadata, const char *format, ...);
};

/* A function of libvirt.so, and where its address goes. */
struct libvirt_symbol {
    const char *name;
    size_t offset;
};
#define LIBVIRT_SECRET_SYMBOLS                                                                     \
    {"virRegisterConnectDriver", offsetof(struct libvirt_symbols, register_connect_driver)},       \
        {"virSetSharedSecretDriver", offsetof(struct libvirt_symbols, set_shared_secret_driver)},  \
        {"virGetSecret", offsetof(struct libvirt_symbols, get_secret)},                            \
        {"virSetError", offsetof(struct libvirt_symbols, set_error)},                              \
        {"virGetConnectSecret", offsetof(struct libvirt_symbols, get_connect_secret)},             \
        {"virLogMessage", offsetof(struct libvirt_symbols, log_message)},

_Static_assert(offsetof(struct libvirt_connect_driver, secret) == 7 * sizeof(void *),
               "virConnectDriver: three bools, uriSchemes, five drivers, then the secret driver");
_Static_assert(sizeof(struct libvirt_secret_driver) == 13 * sizeof(void *),
               "virSecretDriver: a name and twelve functions");
_Static_assert(sizeof(struct libvirt_hypervisor_driver) ==
                   LIBVIRT_HYPERVISOR_ENTRIES * sizeof(void *),
               "virHypervisorDriver: larger than the largest known");
