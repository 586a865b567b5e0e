/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: records of volumes for tests.
 */
#pragma once

#include "conf/volume_record.h"

#define SECRET_UUID "aaaaaaaa-2222-4333-8444-555555555555"

static inline struct volume_record *
record_new(const char *pool, const char *name, enum volume_kind kind, const char *device,
           const char *path)
{
    struct volume_record *record = g_new0(struct volume_record, 1);

    record->pool = g_strdup(pool);
    record->name = g_strdup(name);
    record->kind = kind;
    record->state = VOLUME_STATE_READY;
    record->device = g_strdup(device);
    record->path = g_strdup(path);
    record->is_made = true;
    record->encryption = g_new0(struct encryption, 1);
    record->encryption->format = ENCRYPTION_FORMAT_LUKS;
    record->encryption->secret_by = ENCRYPTION_SECRET_UUID;
    g_assert_true(uuid_parse(SECRET_UUID, &record->encryption->secret_uuid));
    if (kind == VOLUME_KIND_DM_CRYPT) {
        record->encryption->engine = ENCRYPTION_ENGINE_DM_CRYPT;
        record->encryption->format = ENCRYPTION_FORMAT_LUKS2;
    }
    return record;
}
