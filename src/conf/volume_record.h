/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the record that virtcryptd keeps of each of its volumes, as text: XML, one file a volume,
 * SYSCONFDIR/libvirt/virtcrypt/volumes/POOL/VOLUME.xml (docs/volume-record.md). Never a key.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/encryption.h"
#include "util/uuid.h"

enum volume_kind {
    VOLUME_KIND_QCOW2,    /* qcow2 with LUKS inside; QEMU opens it */
    VOLUME_KIND_RAW,      /* LUKS container in a file or a block device; QEMU opens it */
    VOLUME_KIND_DM_CRYPT, /* opened by us */
    VOLUME_KIND_LAST,
};

/* What a start has to do with it. */
enum volume_state {
    VOLUME_STATE_CREATING, /* undo: what `device` and `temporary` name is ours to remove, then the
                            * generated secret, then the record */
    VOLUME_STATE_READY,
    VOLUME_STATE_REKEYING, /* two secrets may open it: `encryption`'s stays, the keyslot of
                            * `other_secret` goes (at first the new one; the commit point is the
                            * record in which the two have changed places) */
    VOLUME_STATE_DELETING, /* go on: keyslots, container, secret, record */
    VOLUME_STATE_WIPING,   /* go on: wipe again; its data are lost */
    VOLUME_STATE_ADOPTING, /* undo: the stored secret, then the record; the volume is not touched */
    VOLUME_STATE_LAST,
};

struct volume_record {
    char *pool;
    char *name;
    enum volume_kind kind;
    enum volume_state state;
    char *path;   /* what guests and vol-path name */
    char *device; /* where the ciphertext is: file or block device; equals path but for dm-crypt */
    char *temporary;   /* while creating: the file that becomes `device`, or NULL */
    bool is_made;      /* a failed creation and vol-delete remove the container. false: a device
                        * outside the pool that was adopted, or formatted on demand */
    uint64_t capacity; /* bytes that a guest sees; 0 for images: they say themselves */
    struct encryption *encryption; /* complete, secret by uuid: plain mode has no other copy */
    bool secret_is_generated;      /* by us, for this volume: full entropy; deleted with it */
    bool secret_is_stored;         /* by us, for this volume, of a key that a person gave: deleted
                                    * with it too, but its keyslots are costly */
    bool has_other_secret;
    struct uuid other_secret;  /* while re-keying: opens it too, or will or did */
    bool other_secret_is_made; /* it was generated or stored by us: removed with its keyslot */
};

enum { VOLUME_RECORD_XML_MAX = 256 * 1024 };

struct volume_record *volume_record_parse(const char *xml, size_t len, GError **error);
char *volume_record_format(const struct volume_record *record);
struct volume_record *volume_record_copy(const struct volume_record *record);
void volume_record_free(struct volume_record *record);

/* "qcow2", "raw", "dm-crypt": as --format takes them. */
const char *volume_kind_name(enum volume_kind kind);

typedef struct volume_record volume_record_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(volume_record_t, volume_record_free)
