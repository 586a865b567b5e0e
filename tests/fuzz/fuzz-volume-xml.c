/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Volumes, pools, their policies, domains, snapshots and records from hostile text: what is taken
 * can be written and read again as the same, an <encryption> put into a volume's XML is the one
 * that is read, and whatever is refused comes with an error.
 */
#include <string.h>

#include "conf/domain_disks.h"
#include "conf/domain_secrets.h"
#include "conf/guest_record.h"
#include "conf/pool_def.h"
#include "conf/pool_policy.h"
#include "conf/volume_def.h"
#include "conf/volume_record.h"
#include "target.h"
#include "util/error.h"

static void
check_answer(bool taken, const GError *error)
{
    check(taken == (error == NULL));
    check(!error || g_utf8_validate(error->message, -1, NULL));
}

static void
check_encryption(const struct encryption *encryption)
{
    if (!encryption)
        return;
    check(encryption_validate(encryption, NULL));
    check((encryption->secret_usage != NULL) == (encryption->secret_by == ENCRYPTION_SECRET_USAGE));
    check((encryption->cipher_size > 0) == (encryption->cipher_name != NULL));
}

/* The document is written as it was read, so writing it twice gives the same text twice. */
static void
check_volume(const struct volume_def *def)
{
    g_autofree char *text = volume_def_format(def);
    g_autoptr(volume_def_t) again = volume_def_parse(text, strlen(text), NULL);
    g_autofree char *text_again = again ? volume_def_format(again) : NULL;

    check(g_strcmp0(text, text_again) == 0);
    check(volume_def_check_name("volume", def->name, NULL));
    check(def->capacity <= INT64_MAX && def->allocation <= INT64_MAX);
    check_encryption(def->encryption);
    check_encryption(def->backing_encryption);
}

/* Into any volume that we take. Others may have what is not understood, and only must not crash. */
static void
check_put(const char *text, size_t len, const struct volume_def *def)
{
    struct encryption encryption = {.format = ENCRYPTION_FORMAT_LUKS,
                                    .secret_by = ENCRYPTION_SECRET_USAGE,
                                    .secret_usage = (char *)"put"};
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = g_strndup(text, len);
    g_autofree char *result = volume_def_put_encryption(xml, &encryption, &error);
    g_autoptr(volume_def_t) changed = NULL;

    check_answer(result != NULL, error);
    if (!result || !def)
        return;
    changed = volume_def_parse(result, strlen(result), NULL);
    if (strlen(result) > VOLUME_DEF_XML_MAX)
        return;
    check(changed && changed->encryption);
    check(g_strcmp0(changed->encryption->secret_usage, "put") == 0);
    check(g_strcmp0(changed->name, def->name) == 0 && g_strcmp0(changed->path, def->path) == 0);
}

static void
try_volume(const char *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(volume_def_t) def = volume_def_parse(text, len, &error);

    check_answer(def != NULL, error);
    if (def)
        check_volume(def);
    if (!memchr(text, '\0', len))
        check_put(text, len, def);
}

static void
try_pool(const char *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(pool_def_t) def = pool_def_parse(text, len, &error);
    g_autoptr(pool_def_t) copy = def ? pool_def_copy(def) : NULL;

    check_answer(def != NULL, error);
    if (!copy)
        return;
    check(volume_def_check_name("pool", copy->name, NULL) && copy->type_name);
    check((copy->source_name != NULL) == (copy->type == POOL_TYPE_LOGICAL));
}

static void
try_policy(const char *text, size_t len)
{
    enum pool_policy policy = POOL_POLICY_LAST;
    g_autoptr(GError) error = NULL;
    bool taken = pool_policy_parse("p", text, len, &policy, &error);

    check_answer(taken, error);
    check(taken == (policy != POOL_POLICY_LAST));
}

static void
check_disk(const struct domain_disk *disk)
{
    check(disk->target != NULL);
    for (guint i = 0; i < disk->sources->len; i++) {
        const struct disk_source *source = g_ptr_array_index(disk->sources, i);
        bool is_path = source->type == DISK_SOURCE_FILE || source->type == DISK_SOURCE_BLOCK;

        check(is_path == (source->path != NULL));
        check((source->type == DISK_SOURCE_VOLUME) == (source->pool && source->volume));
        check_encryption(source->encryption);
    }
}

static void
try_domain(const char *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) disk_error = NULL;
    g_autoptr(domain_disks_t) disks = domain_disks_parse(text, len, &error);
    g_autoptr(domain_disk_t) disk = domain_disk_parse(text, len, &disk_error);

    check_answer(disks != NULL, error);
    check_answer(disk != NULL, disk_error);
    for (guint i = 0; disks && i < disks->disks->len; i++)
        check_disk(g_ptr_array_index(disks->disks, i));
    if (disk)
        check_disk(disk);
}

/* What has a name is found by it; all that is opened has one. */
static void
try_domain_secrets(const char *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(domain_secrets_t) found = domain_secrets_parse(text, len, &error);

    check_answer(found != NULL, error);
    for (guint i = 0; found && i < found->secrets->len; i++) {
        const struct domain_secret *secret = found->secrets->pdata[i];

        check(secret->has_uuid == (secret->usage == NULL));
        check(secret->place && secret->usage_type < SECRET_USAGE_LAST);
    }
    for (guint i = 0; found && i < found->sources->len; i++) {
        const struct disk_source *source = found->sources->pdata[i];

        check(source->type == DISK_SOURCE_OTHER || source->path ||
              (source->pool && source->volume));
    }
}

static void
try_guest_record(const char *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(guest_record_t) record = guest_record_parse(text, len, &error);
    g_autoptr(guest_record_t) again = NULL;
    g_autofree char *written = NULL;
    g_autofree char *written_again = NULL;

    check_answer(record != NULL, error);
    if (!record)
        return;
    check(record->since >= 0);
    written = guest_record_format(record);
    again = guest_record_parse(written, strlen(written), NULL);
    check(again != NULL);
    written_again = guest_record_format(again);
    check(g_str_equal(written, written_again));
    check(again->keys->len == record->keys->len);
}

static void
try_record(const char *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(volume_record_t) record = volume_record_parse(text, len, &error);
    g_autoptr(volume_record_t) again = NULL;
    g_autofree char *written = NULL;
    g_autofree char *written_again = NULL;

    check_answer(record != NULL, error);
    if (!record)
        return;
    written = volume_record_format(record);
    again = volume_record_parse(written, strlen(written), NULL);
    check(again != NULL);
    written_again = volume_record_format(again);
    check(g_str_equal(written, written_again));
    check(g_str_equal(record->name, again->name) && g_str_equal(record->path, again->path));
    check(g_str_equal(record->device, again->device));
    check_encryption(record->encryption);
    check(record->encryption->secret_by == ENCRYPTION_SECRET_UUID);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    const char *text = (const char *)input;

    try_volume(text, len);
    try_pool(text, len);
    try_policy(text, len);
    try_domain(text, len);
    try_domain_secrets(text, len);
    try_guest_record(text, len);
    try_record(text, len);
    return 0;
}
