/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a guest's start and end: its dm-crypt volumes are opened before QEMU starts and closed when
 * it has ended, and a disk that would show it a container in the place of its data is refused.
 *
 * A read-only disk (a CD) may be a container: nothing can be overwritten in it, and the guest may
 * be meant to open it itself. So may one with LUKS2, which QEMU can't open and guests make of their
 * disks. One of ours never is.
 */
#include <string.h>

#include "storage/service_source.h"
#include "util/error.h"
#include "util/log.h"

struct want {
    struct volume_record *record;
    bool is_readonly;
};

static void
want_free(void *opaque)
{
    struct want *want = opaque;

    volume_record_free(want->record);
    g_free(want);
}

/* What is looked at. */
struct place {
    const struct domain_disks *guest;
    const struct domain_disk *disk;
    const struct disk_source *source;
};

static bool G_GNUC_PRINTF(3, 4)
    refuse(GError **error, const struct place *place, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED, "disk '%s' of guest '%s': %s",
              place->disk->target ? place->disk->target : "?", place->guest->name, text);
    return false;
}

static bool
is_raw(const struct disk_source *source)
{
    return !source->format || strcmp(source->format, "raw") == 0;
}

/* ---- a volume of ours ---- */

static void
add_want(GPtrArray *wants, const struct volume_record *record, bool is_readonly)
{
    struct want *want;

    for (guint i = 0; i < wants->len; i++) {
        want = wants->pdata[i];
        if (strcmp(want->record->pool, record->pool) == 0 &&
            strcmp(want->record->name, record->name) == 0) {
            want->is_readonly = want->is_readonly && is_readonly;
            return;
        }
    }
    want = g_new0(struct want, 1);
    want->record = volume_record_copy(record);
    want->is_readonly = is_readonly;
    g_ptr_array_add(wants, want);
}

/* QEMU opens it, if it is told that it is encrypted. */
static bool
check_image(const struct place *place, const struct volume_record *record, GError **error)
{
    char uuid[UUID_TEXT_SIZE];

    if (record->state == VOLUME_STATE_CREATING || record->state == VOLUME_STATE_DELETING ||
        record->state == VOLUME_STATE_WIPING)
        return refuse(error, place, "volume '%s' of pool '%s' is not whole: see virtcrypt vol-info",
                      record->name, record->pool);
    if (record->kind == VOLUME_KIND_QCOW2 && is_raw(place->source))
        return refuse(error, place,
                      "volume '%s' of pool '%s' is an encrypted qcow2 image: its <disk> needs "
                      "<driver name='qemu' type='qcow2'/>",
                      record->name, record->pool);
    if (place->source->encryption)
        return true;
    return refuse(error, place,
                  "volume '%s' of pool '%s' is encrypted, and the <source> of the <disk> has no "
                  "<encryption>: add <encryption format='luks'><secret type='passphrase' "
                  "uuid='%s'/></encryption>",
                  record->name, record->pool, uuid_format(&record->encryption->secret_uuid, uuid));
}

static bool
check_record(const struct place *place, const struct volume_record *record, bool is_device,
             GPtrArray *wants, GError **error)
{
    if (is_device)
        return refuse(error, place,
                      "%s is the ciphertext of volume '%s' of pool '%s': use <source dev='%s'/> in "
                      "its place",
                      place->source->path ? place->source->path : record->device, record->name,
                      record->pool, record->path);
    if (record->kind != VOLUME_KIND_DM_CRYPT)
        return check_image(place, record, error);
    add_want(wants, record, place->disk->is_readonly);
    return true;
}

/* ---- anything else ---- */

static bool
check_foreign(const struct place *place, const char *path, GError **error)
{
    g_auto(service_sniff_t) sniff = {0};

    if (!is_raw(place->source) || !service_sniff(path, &sniff, NULL) || sniff.luks == LUKS_NONE)
        return true;
    if (sniff.has_token)
        return refuse(error, place,
                      "%s is the ciphertext of volume '%s' of pool '%s', by the token in its "
                      "header: register it with virtcrypt vol-adopt, and use the path of the "
                      "volume",
                      path, sniff.token.volume, sniff.token.pool);
    if (place->source->encryption || place->disk->is_readonly || sniff.luks == LUKS_2)
        return true;
    return refuse(error, place,
                  "%s is encrypted with LUKS, and the <source> of the <disk> has no <encryption>: "
                  "the guest would see, and could overwrite, its header. Add <encryption "
                  "format='luks'> with the <secret> that opens it",
                  path);
}

/* A snapshot in a file of its own, as stock libvirt makes it. The guest has been writing in clear
 * since then: to stop it would undo nothing, and a host's guests must start at boot; but somebody
 * must be told. */
static void
warn_of_clear_layer(struct storage_service *service, const struct place *place, const char *path)
{
    g_auto(service_sniff_t) sniff = {0};
    g_autofree char *parent = g_path_get_dirname(path);
    g_autoptr(volume_record_t) base = NULL;
    g_autofree char *backing = NULL;

    if (is_raw(place->source) || place->source->encryption || !service_sniff(path, &sniff, NULL) ||
        sniff.is_encrypted || !sniff.backing)
        return;
    backing = g_canonicalize_filename(sniff.backing, parent);
    base = storage_records_get_by_path(service->records, backing, NULL);
    if (base)
        log_warn("disk '%s' of guest '%s': %s is not encrypted, though it is a layer on the "
                 "encrypted volume '%s' of pool '%s': what the guest writes is in clear until "
                 "'virsh blockcommit' has merged it",
                 place->disk->target ? place->disk->target : "?", place->guest->name, path,
                 base->name, base->pool);
}

/* <source pool= volume=>: one that is not there is libvirt's to refuse. */
static bool
check_volume_source(struct storage_service *service, const struct place *place, GPtrArray *wants,
                    GError **error)
{
    const struct disk_source *source = place->source;
    g_autoptr(GError) failure = NULL;
    g_autoptr(volume_record_t) record = NULL;
    g_autoptr(pool_def_t) pool = NULL;
    g_autofree char *path = NULL;
    bool is_device = false;

    if (!source->pool || !source->volume)
        return true;
    record = storage_records_get(service->records, source->pool, source->volume, &failure);
    if (record)
        return check_record(place, record, false, wants, error);
    if (!error_is(failure, ERROR_NO_STORAGE_VOL)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    pool = storage_pools_get(service->pools, source->pool, NULL);
    if (!pool || !pool->target_path)
        return true;
    path = g_build_filename(pool->target_path, source->volume, NULL);
    record = storage_records_get_by_path(service->records, path, &is_device);
    if (!record)
        warn_of_clear_layer(service, place, path);
    return record ? check_record(place, record, is_device, wants, error)
                  : check_foreign(place, path, error);
}

static bool
check_source(struct storage_service *service, const struct place *place, GPtrArray *wants,
             GError **error)
{
    g_autoptr(volume_record_t) record = NULL;
    bool is_device = false;

    if (place->source->type == DISK_SOURCE_VOLUME)
        return check_volume_source(service, place, wants, error);
    if (place->source->type == DISK_SOURCE_OTHER || !place->source->path)
        return true;
    record = storage_records_get_by_path(service->records, place->source->path, &is_device);
    if (!record)
        warn_of_clear_layer(service, place, place->source->path);
    return record ? check_record(place, record, is_device, wants, error)
                  : check_foreign(place, place->source->path, error);
}

static GPtrArray *
find_wants(struct storage_service *service, const struct domain_disks *guest, GError **error)
{
    g_autoptr(GPtrArray) wants = g_ptr_array_new_with_free_func(want_free);

    for (guint i = 0; i < guest->disks->len; i++) {
        const struct domain_disk *disk = guest->disks->pdata[i];

        for (guint k = 0; k < disk->sources->len; k++) {
            const struct place place = {guest, disk, disk->sources->pdata[k]};

            if (!check_source(service, &place, wants, error))
                return NULL;
        }
    }
    return g_steal_pointer(&wants);
}

/* ---- opening and closing ---- */

static bool
open_want(struct storage_service *service, const struct want *want, const struct storage_user *user,
          GError **error)
{
    g_autofree char *path =
        storage_service_open(service, want->record->pool, want->record->name, user, error);

    return path;
}

static bool
is_among(GPtrArray *places, const struct volume_record *record)
{
    for (guint i = 0; i < places->len; i++) {
        const struct storage_use_place *place = places->pdata[i];

        if (strcmp(place->pool, record->pool) == 0 && strcmp(place->volume, record->name) == 0)
            return true;
    }
    return false;
}

/* The first `count` of `wants` but those that the guest had open before. */
static void
close_again(struct storage_service *service, GPtrArray *wants, guint count, GPtrArray *before,
            const struct storage_user *user)
{
    for (guint i = count; i-- > 0;) {
        const struct want *want = wants->pdata[i];
        g_autoptr(GError) error = NULL;

        if (!is_among(before, want->record) &&
            !storage_service_close(service, want->record->pool, want->record->name, user, &error))
            log_warn("%s", error->message);
    }
}

bool
storage_service_prepare_guest(struct storage_service *service, const char *domain_xml,
                              GError **error)
{
    g_autoptr(domain_disks_t) guest = domain_disks_parse(domain_xml, strlen(domain_xml), error);
    g_autoptr(GPtrArray) wants = guest ? find_wants(service, guest, error) : NULL;
    g_autoptr(GPtrArray) before = NULL;
    struct storage_user user = {.kind = STORAGE_USER_GUEST};

    if (!wants)
        return false;
    user.guest = guest->uuid;
    user.name = guest->name;
    before = storage_uses_of_guest(service->uses, &guest->uuid);
    for (guint i = 0; i < wants->len; i++) {
        const struct want *want = wants->pdata[i];

        user.is_readonly = want->is_readonly;
        if (!open_want(service, want, &user, error)) {
            close_again(service, wants, i, before, &user);
            return false;
        }
    }
    return true;
}

bool
storage_service_check_guest(struct storage_service *service, const char *domain_xml, GError **error)
{
    g_autoptr(domain_disks_t) guest = domain_disks_parse(domain_xml, strlen(domain_xml), error);
    g_autoptr(GPtrArray) wants = guest ? find_wants(service, guest, error) : NULL;

    return wants != NULL;
}

bool
storage_service_release_guest(struct storage_service *service, const struct uuid *guest,
                              GError **error)
{
    const struct storage_user user = {.kind = STORAGE_USER_GUEST, .guest = *guest};
    g_autoptr(GPtrArray) places = storage_uses_of_guest(service->uses, guest);
    bool are_closed = true;

    for (guint i = 0; i < places->len; i++) {
        const struct storage_use_place *place = places->pdata[i];
        g_autoptr(GError) failure = NULL;

        if (storage_service_close(service, place->pool, place->volume, &user, &failure))
            continue;
        if (are_closed)
            g_propagate_error(error, g_steal_pointer(&failure));
        else
            log_warn("%s", failure->message);
        are_closed = false;
    }
    return are_closed;
}
