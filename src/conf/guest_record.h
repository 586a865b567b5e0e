/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the record that virtcryptd keeps of each guest that owns keys, as text: XML, one file a
 * guest, SYSCONFDIR/libvirt/virtcrypt/guests/UUID.xml (docs/guest-record.md). Never a key.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/uuid.h"

enum guest_state {
    GUEST_STATE_PRESENT,   /* libvirt knows it: defined, or running */
    GUEST_STATE_UNDEFINED, /* gone since `since`: keys wait for their erasure */
    GUEST_STATE_MIGRATED,  /* the same, to `peer` */
    GUEST_STATE_DEFINING,  /* undo unless libvirt has it with these keys: secrets that are `made` */
    GUEST_STATE_ARRIVING,  /* a migration from `peer`; undo unless the guest is here */
    GUEST_STATE_LEAVING,   /* a migration to `peer`; it is here until it is not */
    GUEST_STATE_LAST,
};

/* How the guest came to own it. */
enum guest_key_origin {
    GUEST_KEY_GENERATED,  /* the key of a volume of ours, generated or stored by us for it */
    GUEST_KEY_SENT,       /* came with the guest: guest-define, guest-create, migration */
    GUEST_KEY_MANUAL,     /* key-bind: kept until the guest is gone, referenced or not */
    GUEST_KEY_REFERENCED, /* bind_referenced_secrets */
    GUEST_KEY_REFUSED,    /* key-unbind: not bound again by itself */
    GUEST_KEY_ORIGIN_LAST,
};

enum guest_key_state {
    GUEST_KEY_BOUND,
    GUEST_KEY_MADE,     /* being defined or arriving: made by us for that, removed if it fails */
    GUEST_KEY_WAITING,  /* not used since `since`: taken from the guest after the delay */
    GUEST_KEY_ORPHANED, /* its time has come, and it is held: see `reason` */
    GUEST_KEY_STATE_LAST,
};

/* The place of volumes that are, or were, more than one: all count as there. */
#define GUEST_KEY_SEVERAL "several"

struct guest_key {
    struct uuid secret;
    enum guest_key_origin origin;
    enum guest_key_state state;
    char *volume;         /* path, or NULL: not known, or no volume */
    char *place;          /* where `volume` was last seen (guest/volume.h), or NULL */
    int64_t since;        /* seconds since 1970; 0 unless WAITING or ORPHANED */
    char *reason;         /* or NULL */
    bool has_remote_copy; /* another host was seen to hold it */
};

struct guest_record {
    struct uuid uuid;
    char *name;
    char *uri; /* of the driver that knows it: only its answer counts; NULL: none was asked */
    enum guest_state state;
    int64_t since;         /* of the state, seconds since 1970 */
    struct uuid operation; /* DEFINING, ARRIVING, LEAVING; else the last one, or all zero */
    char *peer;      /* ARRIVING, LEAVING: the other host's URI; else the last one's or NULL */
    GPtrArray *keys; /* of struct guest_key, one for each secret */
};

enum { GUEST_RECORD_XML_MAX = 1024 * 1024 };

struct guest_record *guest_record_new(const struct uuid *uuid, const char *name, const char *uri);
struct guest_record *guest_record_parse(const char *xml, size_t len, GError **error);
char *guest_record_format(const struct guest_record *record);
struct guest_record *guest_record_copy(const struct guest_record *record);
void guest_record_free(struct guest_record *record);

/* Borrowed, or NULL. */
struct guest_key *guest_record_find(const struct guest_record *record, const struct uuid *secret);
/* Finds or adds; a new one is BOUND. */
struct guest_key *guest_record_take(struct guest_record *record, const struct uuid *secret,
                                    enum guest_key_origin origin);
void guest_record_drop(struct guest_record *record, const struct uuid *secret);
/* Where another one was seen says nothing of `volume`; but several stay several. */
void guest_key_set_volume(struct guest_key *key, const char *volume);
/* Takes `place`; the same holds. */
void guest_key_set_place(struct guest_key *key, char *place);
bool guest_key_has_several(const struct guest_key *key);

const char *guest_key_origin_name(enum guest_key_origin origin); /* "generated" */
/* False if there is none of that name. */
bool guest_key_origin_parse(const char *name, enum guest_key_origin *ret_origin);

typedef struct guest_record guest_record_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(guest_record_t, guest_record_free)
