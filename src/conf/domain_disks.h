/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the disks in a domain's XML (<domain>, or <domstatus> as in RUNSTATEDIR/libvirt/qemu): what
 * images and devices a guest would open, and with what encryption.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/encryption.h"
#include "util/uuid.h"

enum disk_source_type {
    DISK_SOURCE_FILE,
    DISK_SOURCE_BLOCK,
    DISK_SOURCE_VOLUME, /* <source pool= volume=/> */
    DISK_SOURCE_OTHER,  /* network, dir, nvme, vhostuser: nothing of ours */
};

struct disk_source {
    enum disk_source_type type;
    char *path;   /* FILE, BLOCK; or NULL */
    char *pool;   /* VOLUME */
    char *volume; /* VOLUME */
    char *format; /* <driver type=> or <format type=>; NULL: none said (libvirt: raw) */
    struct encryption *encryption; /* or NULL */
};

struct domain_disk {
    char *target; /* "vda" */
    bool is_readonly;
    bool is_shareable;
    bool is_removable;  /* device='cdrom' or 'floppy' */
    GPtrArray *sources; /* of struct disk_source: the disk's own, its backing chain as far as the
                         * XML says it, then its mirror's; empty for an empty drive */
};

struct domain_disks {
    char *name;
    struct uuid uuid;
    GPtrArray *disks; /* of struct domain_disk */
};

enum { DOMAIN_XML_MAX = 16 * 1024 * 1024 };

/* Tolerant but for what it needs: other elements are not looked at. */
struct domain_disks *domain_disks_parse(const char *xml, size_t len, GError **error);
/* A <disk> alone, for hot-plug. */
struct domain_disk *domain_disk_parse(const char *xml, size_t len, GError **error);
void domain_disks_free(struct domain_disks *disks);
void domain_disk_free(struct domain_disk *disk);

typedef struct domain_disks domain_disks_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(domain_disks_t, domain_disks_free)
typedef struct domain_disk domain_disk_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(domain_disk_t, domain_disk_free)
