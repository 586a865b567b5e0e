/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a storage volume's XML (https://libvirt.org/formatstorage.html), as far as a volume of a
 * dir, fs, netfs or logical pool goes.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/encryption.h"

/* Numbers of virStorageVolType. */
enum volume_type { VOLUME_TYPE_FILE = 0, VOLUME_TYPE_BLOCK = 1 };

struct volume_permissions {
    bool has_mode, has_owner, has_group;
    mode_t mode;
    uid_t owner;
    gid_t group;
    char *label; /* or NULL */
};

struct volume_def {
    char *name;
    enum volume_type type;
    uint64_t capacity;   /* bytes */
    bool has_capacity;   /* may be absent where a source or a backing file says it */
    uint64_t allocation; /* bytes */
    bool has_allocation;
    char *path;   /* <target><path>, or NULL */
    char *format; /* "raw", "qcow2", ...; NULL: none said */
    struct volume_permissions permissions;
    char *compat;      /* qcow2: "0.10" or "1.1", or NULL */
    bool has_features; /* <features> is there, perhaps empty */
    bool lazy_refcounts;
    bool extended_l2;
    uint64_t cluster_size; /* bytes, 0: the default */
    bool nocow;
    struct encryption *encryption;         /* or NULL */
    char *backing_path;                    /* or NULL */
    char *backing_format;                  /* or NULL */
    struct encryption *backing_encryption; /* or NULL; libvirt would overlook it */
};

enum { VOLUME_DEF_XML_MAX = 1024 * 1024, VOLUME_NAME_MAX = 200 };

/* Errors as of encryption_parse. A name that volume_def_check_name refuses, a type other than file
 * and block, and an <encryption> that libvirt would overlook (outside of <target>, or a second one)
 * are errors. Elements that say how a volume is (physical, timestamps), and unknown ones, are
 * ignored as libvirt does. */
struct volume_def *volume_def_parse(const char *xml, size_t len, GError **error);

/* libvirt's form, for vol-dumpxml: elements in its order, sizes in bytes; <key> is the path. */
char *volume_def_format(const struct volume_def *def);

/* `xml` (that libvirt made) with the element <encryption> of its <target> (not of its
 * <backingStore>) replaced by `encryption`, or added; all else byte for byte. NULL with an error if
 * it is no volume's XML. */
char *volume_def_put_encryption(const char *xml, const struct encryption *encryption,
                                GError **error);

void volume_def_free(struct volume_def *def);

/* Whether a volume may have that name; an error (ERROR_XML) says why not, naming `what` ("volume").
 * Also for pools. Not "." or "..", no '/', no control character, UTF-8, at most VOLUME_NAME_MAX
 * bytes (so that file names of ours made from it have room). */
bool volume_def_check_name(const char *what, const char *name, GError **error);

typedef struct volume_def volume_def_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(volume_def_t, volume_def_free)
