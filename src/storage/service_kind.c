/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: service_kind.h.
 */
#include "storage/service_kind.h"

#include <string.h>

#include "util/error.h"

/* Plain mode has its parameters in the record alone, so they are all written. */
enum { PLAIN_CIPHER_BITS = 256 };

static bool
refuse(GError **error, const struct service_plan *plan, const char *text)
{
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "volume '%s' can't be created: %s", plan->def->name, text);
    return false;
}

static void
complete_plain(struct encryption *encryption)
{
    if (!encryption->cipher_name) {
        encryption->cipher_name = g_strdup("aes");
        encryption->cipher_size = PLAIN_CIPHER_BITS;
        encryption->cipher_mode = g_strdup("xts");
        encryption->cipher_hash = g_strdup("sha256");
    }
    if (!encryption->ivgen_name)
        encryption->ivgen_name = g_strdup("plain64");
}

static bool
choose_dm_crypt(struct service_plan *plan, GError **error)
{
    struct encryption *encryption = plan->record->encryption;

    plan->record->kind = VOLUME_KIND_DM_CRYPT;
    switch (encryption->format) {
    case ENCRYPTION_FORMAT_DEFAULT:
        encryption->format = ENCRYPTION_FORMAT_LUKS2;
        return true;
    case ENCRYPTION_FORMAT_LUKS:
    case ENCRYPTION_FORMAT_LUKS2:
        return true;
    case ENCRYPTION_FORMAT_PLAIN:
        complete_plain(encryption);
        return true;
    case ENCRYPTION_FORMAT_QCOW:
    case ENCRYPTION_FORMAT_LUKS_ANY:
    case ENCRYPTION_FORMAT_LAST:
        break;
    }
    return refuse(error, plan,
                  "engine='dm-crypt' makes encryption of format='luks2', 'luks' or 'plain'");
}

static bool
choose_image(struct service_plan *plan, GError **error)
{
    const char *format = plan->def->format;
    bool is_logical = plan->pool->type == POOL_TYPE_LOGICAL;

    if (!format || strcmp(format, "raw") == 0 || strcmp(format, "none") == 0) {
        plan->record->kind = VOLUME_KIND_RAW;
        return true;
    }
    if (strcmp(format, "qcow2") == 0 && !is_logical) {
        plan->record->kind = VOLUME_KIND_QCOW2;
        return true;
    }
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "volume '%s' of format '%s' can't be encrypted: %s", plan->def->name, format,
              is_logical ? "in a logical pool use format 'raw', or engine='dm-crypt'"
                         : "use format 'qcow2' or 'raw', or engine='dm-crypt'");
    return false;
}

static bool
choose_qemu(struct service_plan *plan, GError **error)
{
    switch (plan->record->encryption->format) {
    case ENCRYPTION_FORMAT_LUKS:
        return choose_image(plan, error);
    case ENCRYPTION_FORMAT_DEFAULT:
    case ENCRYPTION_FORMAT_QCOW:
        return refuse(error, plan,
                      "encryption of format='qcow' and 'default' is broken and was taken out of "
                      "QEMU; use format='luks'");
    case ENCRYPTION_FORMAT_LUKS2:
        return refuse(error, plan,
                      "QEMU can't make LUKS2; use format='luks', or engine='dm-crypt' with "
                      "format='luks2'");
    case ENCRYPTION_FORMAT_LUKS_ANY:
        return refuse(error, plan,
                      "format='luks-any' is for opening; use format='luks', or engine='dm-crypt' "
                      "with format='luks2'");
    case ENCRYPTION_FORMAT_PLAIN:
        return refuse(error, plan, "format='plain' needs engine='dm-crypt'");
    case ENCRYPTION_FORMAT_LAST:
        break;
    }
    return refuse(error, plan, "unknown format of encryption");
}

/* A clone without <encryption> of an encrypted source: as the source, each under its own header. */
static struct encryption *
copy_of_source(const struct service_plan *plan)
{
    const struct volume_record *record = plan->source->record;
    struct encryption *encryption;

    if (!record) {
        encryption = g_new0(struct encryption, 1);
        encryption->format = ENCRYPTION_FORMAT_LUKS;
        return encryption;
    }
    encryption = encryption_copy(record->encryption);
    encryption->secret_by = ENCRYPTION_SECRET_NONE;
    g_clear_pointer(&encryption->secret_usage, g_free);
    g_clear_pointer(&encryption->dmcrypt.header_path, g_free);
    return encryption;
}

static struct encryption *
choose_encryption(const struct service_plan *plan, enum pool_policy policy)
{
    struct encryption *encryption;

    if (plan->def->encryption)
        return encryption_copy(plan->def->encryption);
    if (policy == POOL_POLICY_NONE && plan->source && plan->source->is_encrypted)
        return copy_of_source(plan);
    if (policy == POOL_POLICY_NONE)
        return NULL;
    encryption = g_new0(struct encryption, 1);
    if (policy == POOL_POLICY_DM_CRYPT) {
        encryption->engine = ENCRYPTION_ENGINE_DM_CRYPT;
        encryption->format = ENCRYPTION_FORMAT_LUKS2;
    } else {
        encryption->format = ENCRYPTION_FORMAT_LUKS;
    }
    return encryption;
}

bool
service_kind_choose(struct service_plan *plan, enum pool_policy policy, GError **error)
{
    struct volume_record *record = plan->record;

    if (plan->is_decrypted) {
        record->encryption = g_new0(struct encryption, 1);
        record->encryption->format = ENCRYPTION_FORMAT_LUKS;
        return choose_image(plan, error);
    }
    record->encryption = choose_encryption(plan, policy);
    if (!record->encryption)
        return refuse(error, plan,
                      "it is not encrypted: there is no <encryption>, its source has none, and the "
                      "pool has no policy; leave it to libvirt");
    if (record->encryption->engine == ENCRYPTION_ENGINE_LIBRBD)
        return refuse(error, plan, "engine='librbd' is for rbd pools");
    return encryption_is_dm_crypt(record->encryption) ? choose_dm_crypt(plan, error)
                                                      : choose_qemu(plan, error);
}
