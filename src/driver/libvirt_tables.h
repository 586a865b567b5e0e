/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: all that the connector knows of libvirt's inside: the layout of the driver tables and the
 * private functions it looks up at run time. These are our own declarations of facts that were
 * read in libvirt's headers (src/driver.h, src/driver-secret.h, src/driver-storage.h,
 * src/driver-hypervisor.h of 9.0.0 and 11.3.0) and, for 9.0.0, checked in the tables of Debian's
 * modules.
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
#include <sys/types.h>

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

/* virStorageDriver */
struct libvirt_storage_driver {
    const char *name;
    int (*num_of_pools)(virConnectPtr conn);
    int (*list_pools)(virConnectPtr conn, char **names, int max);
    int (*num_of_defined_pools)(virConnectPtr conn);
    int (*list_defined_pools)(virConnectPtr conn, char **names, int max);
    int (*list_all_pools)(virConnectPtr conn, virStoragePoolPtr **pools, unsigned int flags);
    char *(*find_pool_sources)(virConnectPtr conn, const char *type, const char *source,
                               unsigned int flags);
    int (*pool_event_register_any)(virConnectPtr conn, virStoragePoolPtr pool, int event,
                                   virConnectStoragePoolEventGenericCallback callback, void *opaque,
                                   virFreeCallback free_opaque);
    int (*pool_event_deregister_any)(virConnectPtr conn, int id);
    char *(*get_pool_capabilities)(virConnectPtr conn, unsigned int flags);
    virStoragePoolPtr (*pool_lookup_by_name)(virConnectPtr conn, const char *name);
    virStoragePoolPtr (*pool_lookup_by_uuid)(virConnectPtr conn, const unsigned char *uuid);
    virStoragePoolPtr (*pool_lookup_by_volume)(virStorageVolPtr volume);
    virStoragePoolPtr (*pool_lookup_by_target_path)(virConnectPtr conn, const char *path);
    virStoragePoolPtr (*pool_create_xml)(virConnectPtr conn, const char *xml, unsigned int flags);
    virStoragePoolPtr (*pool_define_xml)(virConnectPtr conn, const char *xml, unsigned int flags);
    int (*pool_build)(virStoragePoolPtr pool, unsigned int flags);
    int (*pool_undefine)(virStoragePoolPtr pool);
    int (*pool_create)(virStoragePoolPtr pool, unsigned int flags);
    int (*pool_destroy)(virStoragePoolPtr pool);
    int (*pool_delete)(virStoragePoolPtr pool, unsigned int flags);
    int (*pool_refresh)(virStoragePoolPtr pool, unsigned int flags);
    int (*pool_get_info)(virStoragePoolPtr pool, virStoragePoolInfoPtr info);
    char *(*pool_get_xml_desc)(virStoragePoolPtr pool, unsigned int flags);
    int (*pool_get_autostart)(virStoragePoolPtr pool, int *autostart);
    int (*pool_set_autostart)(virStoragePoolPtr pool, int autostart);
    int (*pool_num_of_volumes)(virStoragePoolPtr pool);
    int (*pool_list_volumes)(virStoragePoolPtr pool, char **names, int max);
    int (*pool_list_all_volumes)(virStoragePoolPtr pool, virStorageVolPtr **volumes,
                                 unsigned int flags);
    virStorageVolPtr (*volume_lookup_by_name)(virStoragePoolPtr pool, const char *name);
    virStorageVolPtr (*volume_lookup_by_key)(virConnectPtr conn, const char *key);
    virStorageVolPtr (*volume_lookup_by_path)(virConnectPtr conn, const char *path);
    virStorageVolPtr (*volume_create_xml)(virStoragePoolPtr pool, const char *xml,
                                          unsigned int flags);
    virStorageVolPtr (*volume_create_xml_from)(virStoragePoolPtr pool, const char *xml,
                                               virStorageVolPtr source, unsigned int flags);
    int (*volume_download)(virStorageVolPtr volume, virStreamPtr stream, unsigned long long offset,
                           unsigned long long length, unsigned int flags);
    int (*volume_upload)(virStorageVolPtr volume, virStreamPtr stream, unsigned long long offset,
                         unsigned long long length, unsigned int flags);
    int (*volume_delete)(virStorageVolPtr volume, unsigned int flags);
    int (*volume_wipe)(virStorageVolPtr volume, unsigned int flags);
    int (*volume_wipe_pattern)(virStorageVolPtr volume, unsigned int algorithm, unsigned int flags);
    int (*volume_get_info)(virStorageVolPtr volume, virStorageVolInfoPtr info);
    int (*volume_get_info_flags)(virStorageVolPtr volume, virStorageVolInfoPtr info,
                                 unsigned int flags);
    char *(*volume_get_xml_desc)(virStorageVolPtr volume, unsigned int flags);
    char *(*volume_get_path)(virStorageVolPtr volume);
    int (*volume_resize)(virStorageVolPtr volume, unsigned long long capacity, unsigned int flags);
    int (*pool_is_active)(virStoragePoolPtr pool);
    int (*pool_is_persistent)(virStoragePoolPtr pool);
};

/* virStorageVol: a GObject (a class, a count, data), libvirt's own class, and these. No function
 * tells the pool. What is here is compared with what the public functions say before `pool` is
 * believed. */
struct libvirt_storage_volume {
    void *object[4];
    virConnectPtr conn;
    char *pool;
    char *name;
    char *key;
};

struct libvirt_identity; /* virIdentity, a GObject */

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
    struct libvirt_storage_driver *storage;
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
    virStorageVolPtr (*get_storage_vol)(virConnectPtr conn, const char *pool, const char *name,
                                        const char *key, void *opaque, virFreeCallback free_opaque);
    int (*stream_open_block)(virStreamPtr stream, const char *path, unsigned long long offset,
                             unsigned long long length, bool sparse, int open_flags);
    int (*stream_on_close)(virStreamPtr stream, void (*closed)(virStreamPtr stream, void *opaque),
                           void *opaque, virFreeCallback free_opaque);
    /* The thread's; a reference, or NULL. The others return 1 if the identity tells it. */
    struct libvirt_identity *(*identity_get_current)(void);
    int (*identity_get_user_name)(struct libvirt_identity *identity, const char **name);
    int (*identity_get_user_id)(struct libvirt_identity *identity, uid_t *uid);
    int (*identity_get_group_name)(struct libvirt_identity *identity, const char **name);
    int (*identity_get_group_id)(struct libvirt_identity *identity, gid_t *gid);
    int (*identity_get_process_id)(struct libvirt_identity *identity, pid_t *pid);
    int (*identity_get_process_time)(struct libvirt_identity *identity, unsigned long long *time);
    int (*identity_get_sasl_user_name)(struct libvirt_identity *identity, const char **name);
    int (*identity_get_x509_name)(struct libvirt_identity *identity, const char **name);
    int (*identity_get_selinux_context)(struct libvirt_identity *identity, const char **context);
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
#define LIBVIRT_STORAGE_SYMBOLS                                                                    \
    {"virRegisterConnectDriver", offsetof(struct libvirt_symbols, register_connect_driver)},       \
        {"virGetStorageVol", offsetof(struct libvirt_symbols, get_storage_vol)},                   \
        {"virFDStreamOpenBlockDevice", offsetof(struct libvirt_symbols, stream_open_block)},       \
        {"virFDStreamSetInternalCloseCb", offsetof(struct libvirt_symbols, stream_on_close)},      \
        {"virIdentityGetCurrent", offsetof(struct libvirt_symbols, identity_get_current)},         \
        {"virIdentityGetUserName", offsetof(struct libvirt_symbols, identity_get_user_name)},      \
        {"virIdentityGetUNIXUserID", offsetof(struct libvirt_symbols, identity_get_user_id)},      \
        {"virIdentityGetGroupName", offsetof(struct libvirt_symbols, identity_get_group_name)},    \
        {"virIdentityGetUNIXGroupID", offsetof(struct libvirt_symbols, identity_get_group_id)},    \
        {"virIdentityGetProcessID", offsetof(struct libvirt_symbols, identity_get_process_id)},    \
        {"virIdentityGetProcessTime",                                                              \
         offsetof(struct libvirt_symbols, identity_get_process_time)},                             \
        {"virIdentityGetSASLUserName",                                                             \
         offsetof(struct libvirt_symbols, identity_get_sasl_user_name)},                           \
        {"virIdentityGetX509DName", offsetof(struct libvirt_symbols, identity_get_x509_name)},     \
        {"virIdentityGetSELinuxContext",                                                           \
         offsetof(struct libvirt_symbols, identity_get_selinux_context)},                          \
        {"virSetError", offsetof(struct libvirt_symbols, set_error)},                              \
        {"virLogMessage", offsetof(struct libvirt_symbols, log_message)},

_Static_assert(offsetof(struct libvirt_connect_driver, secret) == 7 * sizeof(void *),
               "virConnectDriver: three bools, uriSchemes, five drivers, then the secret driver");
_Static_assert(sizeof(struct libvirt_secret_driver) == 13 * sizeof(void *),
               "virSecretDriver: a name and twelve functions");
_Static_assert(sizeof(struct libvirt_storage_driver) == 46 * sizeof(void *),
               "virStorageDriver: a name and forty-five functions");
_Static_assert(offsetof(struct libvirt_storage_driver, pool_refresh) == 21 * sizeof(void *) &&
                   offsetof(struct libvirt_storage_driver, volume_resize) == 43 * sizeof(void *),
               "virStorageDriver: nine functions of connections, nineteen of pools, fifteen of "
               "volumes, two of pools");
_Static_assert(sizeof(struct libvirt_hypervisor_driver) ==
                   LIBVIRT_HYPERVISOR_ENTRIES * sizeof(void *),
               "virHypervisorDriver: larger than the largest known");
