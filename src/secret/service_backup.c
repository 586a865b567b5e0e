/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the taking of that copy, and the way from an offset to the chunk that has it.
 */
#include "secret/service_backup.h"

#include <string.h>

#include "secret/backup_chunks.h"
#include "secret/backup_records.h"
#include "secret/service_state.h"
#include "secret/service_verify.h"
#include "util/error.h"

struct service_backup {
    struct backup_chunks *chunks;
    GPtrArray *pieces; /* of the content: GBytes */
    GArray *starts;    /* of each piece in the content: uint64_t */
    uint64_t content_len;
    uint32_t secrets;
    GPtrArray *lost;
};

void
service_backup_free(struct service_backup *backup)
{
    if (!backup)
        return;
    backup_chunks_free(backup->chunks);
    g_ptr_array_unref(backup->pieces);
    g_array_unref(backup->starts);
    g_ptr_array_unref(backup->lost);
    g_free(backup);
}

/* ---- what is in it ---- */

static void
lose(struct service_backup *backup, const char *file, const char *why)
{
    g_autofree char *text = g_strdup_printf("%s: %s", file, why);

    g_ptr_array_add(backup->lost, service_finding_new(file, why));
    g_ptr_array_add(backup->pieces, backup_records_format_lost(text));
}

static void
lose_value(struct service_backup *backup, const struct secret *secret)
{
    char uuid[UUID_TEXT_SIZE];
    const char *why = secret->value.unavailable;

    uuid_format(&secret->def->uuid, uuid);
    lose(backup, uuid,
         why ? why
             : "its value is in libvirt's clear file, which was not taken over: 'virtcrypt store "
               "import' says why");
}

struct adding {
    const struct secret_service *service;
    struct service_backup *backup;
};

static bool
add_secret(const struct secret *secret, void *opaque)
{
    struct adding *adding = opaque;
    struct service_backup *backup = adding->backup;
    const struct secret_value *value = &secret->value;
    g_autoptr(GBytes) xml = NULL;
    struct backup_secret record = {.uuid = secret->def->uuid};

    if (!service_keeps(adding->service, secret->def))
        return true;
    xml = service_format_xml(secret->def);
    record.xml = xml;
    if (value->sealed && !value->unavailable) {
        record.sealed = value->sealed;
        record.has_owner = value->owner != NULL;
        if (value->owner)
            record.owner = *value->owner;
        record.guests = owners_data(secret->owners);
        record.guest_count = owners_count(secret->owners);
    } else if (service_has_value(secret)) {
        lose_value(backup, secret);
    }
    backup_records_add_secret(backup->pieces, &record);
    backup->secrets++;
    return true;
}

/* Files that no secret in memory stands for. */
static bool
lose_unknown(struct adding *adding, GError **error)
{
    struct secret_service *service = (struct secret_service *)adding->service;
    g_autoptr(GPtrArray) unknown = service_find_unknown(service, error);

    if (!unknown)
        return false;
    for (guint i = 0; i < unknown->len; i++) {
        const struct service_finding *finding = unknown->pdata[i];

        lose(adding->backup, finding->file, finding->problem);
    }
    return true;
}

static bool
check_service(const struct secret_service *service, GError **error)
{
    if (!service->store)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_UNSUPPORTED,
                  "this daemon keeps nothing on disk, so there is nothing to copy");
    else if (service->locked_reason)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the daemon is locked, and the store can't be copied: %s",
                  service->locked_reason);
    else if (!service->slots.slots || service->slots.problem)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the slots (%s) are not those that this store was left with, and a backup with "
                  "them could not be restored: put a good copy of the file back, or make new ones "
                  "with 'virtcrypt master rotate'",
                  service->slots.path);
    else
        return true;
    return false;
}

/* Slots, generations and values of one turn of the loop: they go together. */
static bool
take_copy(struct service_backup *backup, struct secret_service *service, GError **error)
{
    struct adding adding = {service, backup};
    g_autoptr(GBytes) slots = slots_format(service->slots.slots, service->master_key, error);
    g_autoptr(GBytes) generations = slots ? generations_format(service->generations, error) : NULL;

    if (!generations)
        return false;
    backup->chunks = backup_chunks_new(service->master_key, slots, error);
    if (!backup->chunks)
        return false;
    g_ptr_array_add(backup->pieces, backup_records_format_generations(generations));
    registry_foreach(service->registry, add_secret, &adding);
    if (!lose_unknown(&adding, error))
        return false;
    g_ptr_array_add(backup->pieces, backup_records_format_end(backup->secrets, backup->lost->len));
    return true;
}

struct service_backup *
service_backup_new(struct secret_service *service, GError **error)
{
    g_autoptr(service_backup_t) backup = g_new0(struct service_backup, 1);

    backup->pieces = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    backup->starts = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    backup->lost = service_findings_new();
    if (!check_service(service, error) || !take_copy(backup, service, error))
        return NULL;
    for (guint i = 0; i < backup->pieces->len; i++) {
        g_array_append_val(backup->starts, backup->content_len);
        backup->content_len += g_bytes_get_size(backup->pieces->pdata[i]);
    }
    return g_steal_pointer(&backup);
}

/* ---- its bytes ---- */

/* The content is never empty. */
static uint64_t
count_chunks(const struct service_backup *backup)
{
    return (backup->content_len + BACKUP_CHUNK_SIZE - 1) / BACKUP_CHUNK_SIZE;
}

static uint64_t
head_len(const struct service_backup *backup)
{
    return g_bytes_get_size(backup_chunks_head(backup->chunks));
}

uint64_t
service_backup_size(const struct service_backup *backup)
{
    return head_len(backup) + backup->content_len + count_chunks(backup) * AEAD_TAG_SIZE;
}

uint32_t
service_backup_count(const struct service_backup *backup)
{
    return backup->secrets;
}

const GPtrArray *
service_backup_lost(const struct service_backup *backup)
{
    return backup->lost;
}

/* The piece that has the byte `at` of the content. */
static guint
find_piece(const struct service_backup *backup, uint64_t at)
{
    guint low = 0;
    guint high = backup->starts->len;

    while (high - low > 1) {
        guint middle = low + (high - low) / 2;

        if (g_array_index(backup->starts, uint64_t, middle) <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void
copy_content(const struct service_backup *backup, uint64_t at, uint8_t *to, size_t len)
{
    for (guint i = find_piece(backup, at); len > 0; i++) {
        gsize piece_len = 0;
        const uint8_t *piece = g_bytes_get_data(backup->pieces->pdata[i], &piece_len);
        size_t skip = (size_t)(at - g_array_index(backup->starts, uint64_t, i));
        size_t part = MIN(len, piece_len - skip);

        memcpy(to, piece + skip, part);
        to += part;
        at += part;
        len -= part;
    }
}

/* Appends the chunk `number` to `to`. */
static bool
append_chunk(const struct service_backup *backup, uint64_t number, GByteArray *to, GError **error)
{
    uint64_t at = number * BACKUP_CHUNK_SIZE;
    size_t len = (size_t)MIN(backup->content_len - at, BACKUP_CHUNK_SIZE);
    g_autofree uint8_t *plain = g_malloc(len);
    guint before = to->len;

    copy_content(backup, at, plain, len);
    g_byte_array_set_size(to, before + (guint)len + AEAD_TAG_SIZE);
    return backup_chunks_encrypt(backup->chunks,
                                 (struct backup_chunk){number, number + 1 == count_chunks(backup)},
                                 plain, len, to->data + before, error);
}

GBytes *
service_backup_read(const struct service_backup *backup, uint64_t at, size_t max, GError **error)
{
    uint64_t head = head_len(backup);
    uint64_t size = service_backup_size(backup);
    g_autoptr(GByteArray) bytes = NULL;
    uint64_t number;
    size_t skip;

    if (at >= size)
        return g_bytes_new(NULL, 0);
    if (at < head)
        return g_bytes_new_from_bytes(backup_chunks_head(backup->chunks), (gsize)at,
                                      (gsize)MIN(max, head - at));
    bytes = g_byte_array_new();
    max = (size_t)MIN(max, size - at);
    number = (at - head) / BACKUP_SEALED_SIZE;
    skip = (size_t)((at - head) % BACKUP_SEALED_SIZE);
    while (bytes->len < skip + max) {
        if (!append_chunk(backup, number++, bytes, error))
            return NULL;
    }
    return g_bytes_new(bytes->data + skip, max);
}
