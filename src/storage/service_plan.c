/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: service_plan.h.
 */
#include "storage/service_plan.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/service_kind.h"
#include "util/error.h"

void
service_plan_free(struct service_plan *plan)
{
    if (!plan)
        return;
    volume_record_free(plan->record);
    service_source_free(plan->source);
    volume_def_free(plan->def);
    pool_def_free(plan->pool);
    g_free(plan);
}

bool
service_plan_wants(struct storage_service *service, const struct storage_create_request *request,
                   bool *ret_wants, GError **error)
{
    g_autoptr(volume_def_t) def = NULL;
    g_autoptr(pool_def_t) pool = storage_pools_get(service->pools, request->pool, error);
    g_autoptr(service_source_t) source = NULL;
    g_autoptr(GError) failure = NULL;
    enum pool_policy policy;

    if (!pool || !storage_pools_get_policy(service->pools, request->pool, &policy, error))
        return false;
    def = volume_def_parse(request->xml, strlen(request->xml), error);
    if (!def)
        return false;
    *ret_wants = policy != POOL_POLICY_NONE;
    if (def->encryption)
        *ret_wants = pool->type != POOL_TYPE_OTHER || encryption_is_dm_crypt(def->encryption);
    if (*ret_wants)
        return true;
    source = service_source_new(service, request, &failure);
    if (source)
        *ret_wants = source->is_encrypted;
    if (!failure)
        return true;
    /* What can't be looked at may be encrypted, and its clone must not become cleartext. */
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

/* ---- the secret ---- */

static bool
names_secret_of_source(const struct service_plan *plan)
{
    const struct encryption *encryption = plan->record->encryption;

    return plan->source && plan->source->record &&
           encryption->secret_by == ENCRYPTION_SECRET_UUID &&
           uuid_equal(&encryption->secret_uuid, &plan->source->secret);
}

static bool
find_named_secret(struct storage_service *service, struct encryption *encryption, GError **error)
{
    if (encryption->secret_by != ENCRYPTION_SECRET_USAGE)
        return true;
    if (!service->keys.find_by_usage(service->keys.opaque, encryption->secret_usage,
                                     &encryption->secret_uuid, error))
        return false;
    encryption->secret_by = ENCRYPTION_SECRET_UUID;
    g_clear_pointer(&encryption->secret_usage, g_free);
    return true;
}

/* `is_asked`: the client's XML has <encryption>. A clone keeps the secret of its source, so that a
 * copied domain XML opens it; but where no domain XML names a secret, it gets its own. */
static bool
plan_key(struct storage_service *service, struct service_plan *plan,
         const struct storage_create_request *request, bool is_asked, GError **error)
{
    struct encryption *encryption = plan->record->encryption;

    if (!find_named_secret(service, encryption, error))
        return false;
    if (request->key && encryption->secret_by != ENCRYPTION_SECRET_NONE) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "volume '%s' is given both a key and a secret: leave out <secret> or the key",
                  plan->def->name);
        return false;
    }
    if (request->key) {
        plan->key_from = SERVICE_KEY_GIVEN;
    } else if (names_secret_of_source(plan)) {
        plan->key_from =
            request->flags & STORAGE_CREATE_NEW_KEY ? SERVICE_KEY_GENERATED : SERVICE_KEY_SOURCE;
    } else if (encryption->secret_by != ENCRYPTION_SECRET_NONE) {
        plan->key_from = SERVICE_KEY_NAMED;
    } else if (plan->source && plan->source->is_encrypted && !is_asked &&
               plan->record->kind != VOLUME_KIND_DM_CRYPT &&
               !(request->flags & STORAGE_CREATE_NEW_KEY)) {
        plan->key_from = SERVICE_KEY_SOURCE;
    }
    if (plan->key_from != SERVICE_KEY_NAMED)
        encryption->secret_by = ENCRYPTION_SECRET_NONE;
    return true;
}

/* ---- paths ---- */

static char *
temporary_for(const char *device)
{
    g_autofree char *parent = g_path_get_dirname(device);
    g_autofree char *name = g_path_get_basename(device);

    return g_strdup_printf("%s/.%s.virtcrypt-new", parent, name);
}

static bool
check_name_length(const struct service_plan *plan, const char *path, GError **error)
{
    g_autofree char *name = g_path_get_basename(path);

    if (strlen(name) <= NAME_MAX)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "the name of volume '%s' is too long: '%s' would have more than %d bytes",
              plan->def->name, name, NAME_MAX);
    return false;
}

/* A block device outside of the pool, which is formatted as it is: for dm-crypt alone. */
static bool
is_existing_device(const struct service_plan *plan)
{
    g_autofree char *parent = plan->def->path ? g_path_get_dirname(plan->def->path) : NULL;
    struct stat info;

    return plan->record->kind == VOLUME_KIND_DM_CRYPT && parent && plan->def->path[0] == '/' &&
           strcmp(parent, plan->pool->target_path) != 0 && stat(plan->def->path, &info) == 0 &&
           S_ISBLK(info.st_mode);
}

static bool
plan_paths(struct storage_service *service, struct service_plan *plan, enum pool_policy policy,
           GError **error)
{
    struct volume_record *record = plan->record;
    g_autofree char *in_pool = g_build_filename(plan->pool->target_path, record->name, NULL);

    record->is_made = true;
    if (record->kind != VOLUME_KIND_DM_CRYPT) {
        record->device = g_strdup(in_pool);
        record->path = g_strdup(in_pool);
    } else {
        record->is_made = !is_existing_device(plan);
        record->device =
            record->is_made ? g_strconcat(in_pool, ".crypt", NULL) : g_strdup(plan->def->path);
        record->path = record->is_made && policy == POOL_POLICY_DM_CRYPT
                           ? g_strdup(in_pool)
                           : mapping_path(service->device_dir, record->pool, record->name);
    }
    if (record->is_made && plan->pool->type == POOL_TYPE_DIR)
        record->temporary = temporary_for(record->device);
    return check_name_length(plan, record->temporary ? record->temporary : record->device, error);
}

/* ---- the whole ---- */

static struct volume_record *
new_record(const struct service_plan *plan)
{
    struct volume_record *record = g_new0(struct volume_record, 1);

    record->pool = g_strdup(plan->pool->name);
    record->name = g_strdup(plan->def->name);
    record->state = VOLUME_STATE_CREATING;
    return record;
}

/* As libvirt does: a clone is not smaller than its source. */
static bool
plan_capacity(struct service_plan *plan, GError **error)
{
    struct volume_def *def = plan->def;

    if (plan->source && plan->source->capacity > 0 &&
        (!def->has_capacity || def->capacity < plan->source->capacity)) {
        def->capacity = plan->source->capacity;
        def->has_capacity = true;
    }
    if (def->has_capacity || def->backing_path)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
              "volume '%s' has no capacity: say <capacity unit='GiB'>...</capacity>", def->name);
    return false;
}

static bool
read_request(struct storage_service *service, struct service_plan *plan,
             const struct storage_create_request *request, GError **error)
{
    g_autoptr(GError) failure = NULL;

    plan->pool = storage_pools_get(service->pools, request->pool, error);
    if (!plan->pool)
        return false;
    plan->def = volume_def_parse(request->xml, strlen(request->xml), error);
    if (!plan->def)
        return false;
    if (plan->pool->type == POOL_TYPE_OTHER || !plan->pool->target_path) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
                  "volume '%s' can't be encrypted by virtcrypt in storage pool '%s' of type '%s': "
                  "it can in pools of type dir, fs, netfs and logical",
                  plan->def->name, plan->pool->name, plan->pool->type_name);
        return false;
    }
    plan->source = service_source_new(service, request, &failure);
    if (!failure)
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

/* Cleartext is made of an encrypted source alone: anything else is libvirt's own business. */
static bool
check_decrypt(struct service_plan *plan, const struct storage_create_request *request,
              GError **error)
{
    if (!(request->flags & STORAGE_CREATE_DECRYPT))
        return true;
    plan->is_decrypted = true;
    if (plan->source && plan->source->is_encrypted && !plan->def->encryption && !request->key)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
              "volume '%s' can't be made in cleartext: that is for a clone of an encrypted volume, "
              "without <encryption> and without a key",
              plan->def->name);
    return false;
}

struct service_plan *
service_plan_new(struct storage_service *service, const struct storage_create_request *request,
                 GError **error)
{
    g_autoptr(service_plan_t) plan = g_new0(struct service_plan, 1);
    enum pool_policy policy;
    bool is_asked;

    if (!storage_pools_get_policy(service->pools, request->pool, &policy, error) ||
        !read_request(service, plan, request, error) || !check_decrypt(plan, request, error) ||
        !plan_capacity(plan, error))
        return NULL;
    plan->record = new_record(plan);
    is_asked = plan->def->encryption != NULL;
    if (!service_kind_choose(plan, policy, error) ||
        !plan_key(service, plan, request, is_asked, error) ||
        !plan_paths(service, plan, policy, error))
        return NULL;
    plan->record->capacity = plan->record->kind == VOLUME_KIND_DM_CRYPT ? plan->def->capacity : 0;
    return g_steal_pointer(&plan);
}
