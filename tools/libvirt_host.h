/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what is asked of libvirt itself, of the same host as virtcryptd, by libvirt's public API:
 * pools and volumes that are not ours, and guests.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "tools/session.h"
#include "util/uuid.h"

struct libvirt_host;

/* Errors are libvirt's. */
struct libvirt_host *libvirt_host_open(const struct session *session, GError **error);
/* The same by libvirt's own URI. */
struct libvirt_host *libvirt_host_connect(const char *uri, GError **error);
void libvirt_host_close(struct libvirt_host *host);

/* Makes libvirt look at a pool again, after a change that it did not make. That it can't (it does
 * not run, say) is printed as a note, and no error. */
void libvirt_host_refresh_pool(const struct session *session, const char *pool);

/* A volume by pool and name, or (pool NULL) by path. The format may be NULL. */
struct libvirt_volume {
    char *path;
    char *format;
};
bool libvirt_host_find_volume(struct libvirt_host *host, const char *pool, const char *name,
                              struct libvirt_volume *ret_volume, GError **error);
void libvirt_volume_clear(struct libvirt_volume *volume);

struct libvirt_guest {
    char *name;
    struct uuid uuid;
    bool is_active;
    bool is_persistent;
    char *xml; /* as it runs, or (inactive) as it would start */
};

/* By id, uuid or name, as virsh looks for it. LIBVIRT_NO_GUEST: libvirt's answer is that there is
 * none. */
enum { LIBVIRT_NO_GUEST = 42 };
bool libvirt_host_find_guest(struct libvirt_host *host, const char *name,
                             struct libvirt_guest *ret_guest, GError **error);
void libvirt_guest_clear(struct libvirt_guest *guest);

enum libvirt_guest_presence {
    LIBVIRT_GUEST_NONE,    /* libvirt's own answer */
    LIBVIRT_GUEST_DEFINED, /* and does not run */
    LIBVIRT_GUEST_PAUSED,  /* or ends */
    LIBVIRT_GUEST_SENT,    /* paused since its memory was sent to another host */
    LIBVIRT_GUEST_RUNNING,
};
bool libvirt_host_look_at(struct libvirt_host *host, const struct uuid *guest,
                          enum libvirt_guest_presence *ret_presence, GError **error);

/* Ends the guest and undefines it, as libvirt itself does at the end of a migration. */
bool libvirt_host_drop(struct libvirt_host *host, const struct uuid *guest, GError **error);

/* `flags` as of virDomainAttachDeviceFlags. */
bool libvirt_host_attach(struct libvirt_host *host, const struct libvirt_guest *guest,
                         const char *device_xml, unsigned int flags, GError **error);

typedef struct libvirt_host libvirt_host_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(libvirt_host_t, libvirt_host_close)
typedef struct libvirt_volume libvirt_volume_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(libvirt_volume_t, libvirt_volume_clear)
typedef struct libvirt_guest libvirt_guest_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(libvirt_guest_t, libvirt_guest_clear)
